"""What a file needs, read and scanned in one go."""

from __future__ import annotations

from cpuprobe.code.elf import Held
from cpuprobe.code.needs import Needs
from cpuprobe.code.read import Reading, complete, opened


def _whole(reading: Reading) -> Needs:
    return complete(reading, reading.scan())


def read_needs(path: str) -> Needs:
    """Of the file at a path; ArtifactError if it cannot be read."""
    return _whole(opened(path))


def parse_needs(content: bytes) -> Needs:
    """Of a file with these bytes; ArtifactError if they are none that can be read."""
    return _whole(Reading(Held(content)))
