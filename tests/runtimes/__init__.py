"""The emitted settings, given to the real programs they are for."""
