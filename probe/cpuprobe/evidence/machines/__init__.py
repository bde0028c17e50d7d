"""Other people's data about a machine -> Observation. Every reader takes hostile input."""

from __future__ import annotations

from cpuprobe.evidence.machines.read import parse_capture, read_capture

__all__ = ["parse_capture", "read_capture"]
