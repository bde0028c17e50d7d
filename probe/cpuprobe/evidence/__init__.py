"""What was seen: measured here, or read from what somebody pasted. No opinion in it."""
