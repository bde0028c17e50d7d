"""One module a format: `FORMAT` says what it is, and how a text of it is read."""
