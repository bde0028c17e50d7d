"""Fleets of made-up machines; what takes long stands here, the rest in tests/unit."""
