"""The model of aarch64: what candidates have to compute, from the manuals' definitions."""
