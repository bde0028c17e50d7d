"""What one file from outside may cost, whatever is nested in it: counted, not timed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cpuprobe.code.elf import ArtifactError

WORK = 50_000_000
"""Steps (cpuprobe.code.budget) that any file may make, whatever it holds."""
STEPS = 20
"""Steps more that each byte of it may: duckdb's library, which is packed to a quarter, makes four,
and debug information packed by xz unpacks to twenty bytes."""
PACKED, UNPACKED = 1, 1 / 16
"""Steps for a byte that is unpacked, of bzip2, which takes longest; and for what it unpacks to."""
ENTRY = 200
"""Steps for each file in it, whatever that is."""
MOST_ENTRIES = 1 << 19
"""Files in it; the largest images have some 300,000."""
MOST_HELD = 320 << 20
"""Bytes of unpacked files that are in memory at once, those that are being looked into included."""
DICTIONARIES = (256 << 20, 80 << 20, 80 << 20, 20 << 20)
"""Bytes for the dictionary of xz or zstd; of one whose input another unpacks, the second, and so
on. `xz -9` has 64 MiB."""
MOST_NESTED = 8
"""Containers in containers: an image that is compressed is two, a Debian package three."""


class SpentError(ArtifactError):
    """It has used up what it may: nothing more of it is read."""


class Allowance:
    """What is left for one file.

    Attributes:
        left: steps.
    """

    def __init__(self, size: int) -> None:
        """Takes the size of the file, in bytes, without its holes."""
        self.left = float(WORK + STEPS * size)
        self._entries = 0
        self._held = 0
        self._dictionaries = 0

    def spend(self, steps: float) -> None:
        """Charges work; SpentError if it is too much."""
        self.left -= steps
        if self.left < 0:
            raise SpentError("what it holds is too much work")

    def unpack(self, packed: int, unpacked: int) -> None:
        """Charges bytes that are unpacked, and what they unpack to; SpentError if too many."""
        self.spend(PACKED * packed + UNPACKED * unpacked)

    def enter(self) -> None:
        """Charges a file in it; SpentError if there are too many."""
        self.spend(ENTRY)
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            raise SpentError(f"holds more than {MOST_ENTRIES} files")

    @property
    def free(self) -> int:
        """Bytes of unpacked files that may be put into memory now."""
        return MOST_HELD - self._held

    @contextmanager
    def dictionary(self) -> Iterator[int]:
        """For as long as one is used: how many bytes it may take."""
        most = DICTIONARIES[min(self._dictionaries, len(DICTIONARIES) - 1)]
        self._dictionaries += 1
        try:
            yield most
        finally:
            self._dictionaries -= 1

    def hold(self, size: int) -> None:
        """Charges memory; what is given back is negative."""
        self._held += size
