"""A crash and a machine -> what died, whether that machine has it, what to do."""
