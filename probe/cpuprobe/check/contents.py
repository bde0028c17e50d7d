"""What the files need that one file holds: an archive, a package, an image."""

from __future__ import annotations

import gc
from collections import Counter
from typing import NamedTuple

from cpuprobe.code.archives.walk import Member, members
from cpuprobe.code.budget import BUDGET
from cpuprobe.code.elf import ArtifactError, Source
from cpuprobe.code.needs import Needs
from cpuprobe.code.read import Reading, complete
from cpuprobe.errors import CaptureError
from cpuprobe.files import OpenedFile

STEPS = 20
"""Steps more than for one file that all the code in it may make, for each of its bytes: duckdb's
library, which is packed to a quarter, makes four."""
_LITTER = 64 << 20


class Met(NamedTuple):
    """One file that was met, with one of these.

    Attributes:
        name: with those of what it lies in.
        needs: what it needs.
        unread: of what kind it is, which is not read.
        error: why it cannot be read.
    """

    name: str
    needs: Needs | None = None
    unread: str = ""
    error: str = ""


class Contents(NamedTuple):
    """What one file holds.

    Attributes:
        met: what may hold code, in order.
        unread: how many others there are of what kind.
    """

    met: list[Met]
    unread: Counter[str]


def contents(path: str, sought: tuple[str, ...] = ()) -> Contents:
    """Reads all that a file holds.

    Args:
        path: the file.
        sought: features of which every function is listed.

    Raises:
        ArtifactError: it cannot be opened.
    """
    try:
        with OpenedFile(path) as file:
            return _Reader(file, path, sought).contents
    except CaptureError as error:
        raise ArtifactError(str(error).removeprefix(f"{path}: ")) from None


class _Reader:
    """Reads one file, and keeps count of what that costs."""

    def __init__(self, source: Source, path: str, sought: tuple[str, ...]) -> None:
        """Reads it."""
        self.contents = Contents([], Counter())
        self._sought = sought
        self._steps = BUDGET + STEPS * source.size
        self._litter = 0
        met, unread = self.contents
        try:
            for member in members(source, path):
                if member.source is not None:
                    met.append(self._judged(member, member.source))
                elif member.error:
                    met.append(Met(member.name, error=f"{member.kind.name}: {member.error}"))
                elif member.kind.named:
                    met.append(Met(member.name, unread=member.kind.name))
                else:
                    unread[member.kind.name] += 1
        except ArtifactError as error:
            met.append(Met(path, error=str(error)))

    def _judged(self, member: Member, source: Source) -> Met:
        if self._steps < 0:
            raise ArtifactError("the code in it is too much work")
        self._litter += source.size
        if self._litter > _LITTER:  # sections of a file know the file, and it knows them
            self._litter = 0
            gc.collect()
        try:
            reading = Reading(source)
            scan = reading.scan(0, 1, self._sought)
            self._steps -= scan.steps if scan else 0
            return Met(member.name, complete(reading.needs(), [] if scan is None else [scan]))
        except ArtifactError as error:
            return Met(member.name, error=str(error))
