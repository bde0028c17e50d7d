"""The bytes of a file -> what it needs."""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from cpuprobe.code import macho
from cpuprobe.code.cwasm import read_cwasm
from cpuprobe.code.elf import ArtifactError, Elf, Source
from cpuprobe.code.elf_program import read_elf
from cpuprobe.code.flow import begins, straight_line
from cpuprobe.code.forms import forms
from cpuprobe.code.layout import Plan, plan
from cpuprobe.code.needs import Needs
from cpuprobe.code.pe import read_pe
from cpuprobe.code.program import Binary
from cpuprobe.code.reach import reached
from cpuprobe.code.scan import scan
from cpuprobe.code.tally import Scan
from cpuprobe.errors import CaptureError
from cpuprobe.files import OpenedFile

MOST_COMPILED = 256 << 20
"""Bytes of an artifact of wasmtime, which is held whole."""


def opened(path: str) -> Reading:
    """Reads a file.

    Raises:
        ArtifactError: it cannot be read, is no regular file, no ELF file, or is damaged.
    """
    try:
        with OpenedFile(path) as file:
            if file.size == 0:
                raise ArtifactError("empty")
            return Reading(file)
    except CaptureError as error:
        raise ArtifactError(str(error).removeprefix(f"{path}: ")) from None


class Reading:
    """What is needed of one file in memory."""

    def __init__(self, source: Source) -> None:
        """Reads all that is needed of a file.

        Raises:
            ArtifactError: it is no ELF file, or is damaged.
        """
        self._file = _read(source)
        self._content = b""
        self._plan: Plan | None = None
        if self._file.wasmtime:
            if source.size > MOST_COMPILED:
                raise ArtifactError(f"compiled wasm larger than {MOST_COMPILED >> 20} MiB")
            self._content = Elf(source).read(0, source.size, "it")
        elif self._file.architecture == "x86-64":
            self._plan = plan(self._file)

    def needs(self) -> Needs:
        """What the file needs, without what a scan finds.

        Raises:
            ArtifactError: compiled wasm that is damaged, or too much work.
        """
        file = self._file
        if file.wasmtime:
            return read_cwasm(self._content)
        if self._plan is None:
            return Needs(kind="other", architecture=file.architecture)
        roots, further = begins(file)
        return Needs(
            kind=file.kind,
            entry=straight_line(file, forms(), roots),
            reached=reached(file, forms(), (*roots, *further)),
            isa_needed=file.isa_needed,
            isa_used=file.isa_used,
            dispatch=_dispatch(file),
            ifuncs=file.ifuncs,
            loader=file.loader,
            appended=file.appended,
        )

    def scan(self, sought: Collection[str] = ()) -> Scan | None:
        """The scan; None for what is not scanned: compiled wasm, foreign code.

        Args:
            sought: features of which every function is listed.
        """
        if self._plan is None:
            return None
        return scan(self._file, self._plan, sought)


# By what a file begins with; what begins otherwise is no ELF file.
_READERS: dict[bytes, Callable[[Source], Binary]] = {
    b"MZ": read_pe,
    **dict.fromkeys((macho.MAGIC, *macho.FURTHER_MAGIC), macho.read_macho),
}


def _read(source: Source) -> Binary:
    start = source.some(0, 4)
    return next((read for magic, read in _READERS.items() if start.startswith(magic)), read_elf)(
        source
    )


def complete(needs: Needs, found: Scan | None) -> Needs:
    """What a file needs, with what its scan found; None: it was not scanned."""
    if found is None:
        return needs
    return msgspec.structs.replace(
        needs,
        features=found.features,
        spread=found.spread(),
        functions=found.listed,
        unlisted=found.unlisted,
        sketch=found.sketch,
        unknown=found.unknown,
        dispatch=(*found.signs, *needs.dispatch),
        coverage=found.coverage,
    )


def _dispatch(file: Binary) -> tuple[str, ...]:
    chosen = [f"{file.ifuncs} functions chosen at load time (ifunc)"] if file.ifuncs else []
    return (*file.asks_others, *chosen)
