"""What one file from outside may cost, whatever is nested in it: counted, not timed."""

from __future__ import annotations

from cpuprobe.code.elf import ArtifactError

MOST_UNPACKED = 512 << 20
"""Bytes that any file may unpack to; zeros in bzip2 take 8 s."""
RATIO = 60
"""Bytes more that each byte of it may; debug information packed by xz has been seen at 20."""
MOST_ENTRIES = 1 << 19
"""Files in it; the largest images have some 300,000."""
MOST_HELD = 320 << 20
"""Bytes of unpacked files that are in memory at once, those that are being looked into included."""
MOST_NESTED = 8
"""Containers in containers: an image that is compressed is two, a Debian package three."""


class SpentError(ArtifactError):
    """It has used up what it may: nothing more of it is read."""


class Allowance:
    """What is left for one file.

    Attributes:
        unpacked: bytes so far.
    """

    def __init__(self, size: int) -> None:
        """Takes the size of the file, in bytes."""
        self.unpacked = 0
        self._most = MOST_UNPACKED + RATIO * size
        self._entries = 0
        self._held = 0

    def unpack(self, size: int) -> None:
        """Charges bytes that were unpacked; SpentError if they are too many."""
        self.unpacked += size
        if self.unpacked > self._most:
            raise SpentError(f"unpacks to more than {self._most >> 20} MiB")

    def enter(self) -> None:
        """Charges a file in it; SpentError if there are too many."""
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            raise SpentError(f"holds more than {MOST_ENTRIES} files")

    @property
    def free(self) -> int:
        """Bytes of unpacked files that may be put into memory now."""
        return MOST_HELD - self._held

    def hold(self, size: int) -> None:
        """Charges memory; what is given back is negative."""
        self._held += size
