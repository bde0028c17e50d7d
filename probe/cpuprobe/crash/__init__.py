"""What died: crash records -> the instruction that faulted and where it came from."""
