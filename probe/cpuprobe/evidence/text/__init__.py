"""From pasted bytes to clean lines."""
