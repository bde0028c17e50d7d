"""The bytes of a file -> what it needs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from concurrent.futures import Future
from threading import Event
from typing import NamedTuple

import msgspec

from cpuprobe.code import a64_reach, a64_scan, coff, macho
from cpuprobe.code.budget import BUDGET, CODE, KNOWN
from cpuprobe.code.cwasm import read_cwasm
from cpuprobe.code.elf import EM_AARCH64, EM_X86_64, ArtifactError, Elf, Source
from cpuprobe.code.elf_program import read_elf
from cpuprobe.code.fixed_links import FixedLinks
from cpuprobe.code.flow import begins, straight_line
from cpuprobe.code.forms import forms
from cpuprobe.code.go_reach import GoSearch
from cpuprobe.code.hidden import UnreadError
from cpuprobe.code.layout import Plan, plan
from cpuprobe.code.native import NATIVE
from cpuprobe.code.needs import Needs, Reach
from cpuprobe.code.pe import read_pe
from cpuprobe.code.program import Binary, is_named_for_cpus
from cpuprobe.code.reach import MOST_FUNCTIONS, Search
from cpuprobe.code.scan import scan
from cpuprobe.code.tally import Scan
from cpuprobe.code.threads import begun, parts
from cpuprobe.code.unclaimed import claim
from cpuprobe.errors import CaptureError
from cpuprobe.facts.isa import AARCH64, X86_64, facts_named
from cpuprobe.files import OpenedFile

_MACHINES = {X86_64.name: EM_X86_64, AARCH64.name: EM_AARCH64}
_SWEPT = 8
"""A share of a feature's instructions, one in so many, from which on those count that no function
claims: in a stripped file these are functions too, in others some constants."""
_MOST_BESIDE = 128 << 20
"""Bytes of code of which two things are done at once: of more, memory is what counts."""
MOST_COMPILED = 256 << 20
"""Bytes of an artifact of wasmtime, which is held whole."""


def opened(path: str, isa: str = "x86-64") -> Reading:
    """Reads a file, for an instruction set.

    Raises:
        UnreadError: it may hold code, and is of a kind that is not read.
        ArtifactError: it cannot be read, is no regular file, of no kind that is read, or damaged.
    """
    try:
        with OpenedFile(path) as file:
            if file.size == 0:
                raise ArtifactError("empty")
            return Reading(file, isa)
    except UnreadError:
        raise
    except CaptureError as error:
        raise ArtifactError(str(error).removeprefix(f"{path}: ")) from None


class Reading:
    """What is needed of one file in memory.

    Attributes:
        steps: what was done so far took (code.budget); of compiled wasm nothing is counted.
    """

    def __init__(self, source: Source, isa: str = "x86-64") -> None:
        """Reads all that is needed of a file; code for others than `isa` is not looked at.

        Raises:
            ArtifactError: it is of no kind that is read, or is damaged.
        """
        self._file = _read(source, isa)
        self._isa = isa
        self._content = b""
        self.steps = 0
        self._plan: Plan | None = None
        self._linked = Event()
        self._begun: Future[Search | None] | None = None
        if self._file.wasmtime:
            if source.size > MOST_COMPILED:
                raise ArtifactError(f"compiled wasm larger than {MOST_COMPILED >> 20} MiB")
            self._content = Elf(source).read(0, source.size, "it")
        elif self._file.architecture == facts_named(isa).code:
            self._begin()
            self._plan = plan(self._file)

    def _begin(self) -> None:
        """Begins, of a large file, with how its parts refer to each other, and what answers.

        The first takes all CPUs, so a scan waits for it; the second goes on while that is made.
        """
        size = self._file.code_size
        if parts(2 * size) == 1 or size > _MOST_BESIDE:
            return
        self._begun = begun(self._searching_soon)

    def needs(self) -> Needs:
        """What the file needs, without what a scan finds.

        Raises:
            ArtifactError: compiled wasm that is damaged, or too much work.
        """
        file = self._file
        if file.wasmtime:
            return read_cwasm(self._content, isa=self._isa)
        if self._plan is None:
            return Needs(kind="other", architecture=file.architecture)
        return Needs(
            kind=file.kind,
            architecture=file.architecture,
            entry=self._straight,
            isa_needed=file.isa_needed,
            isa_used=file.isa_used,
            dispatch=file.signs,
            ifuncs=file.ifuncs,
            loader=file.loader,
            appended=file.appended,
            go=file.go,
        )

    def scan(self, sought: Collection[str] = (), most: int = BUDGET) -> Scan | None:
        """The scan; None for what is not scanned: compiled wasm, foreign code.

        Args:
            sought: features of which every function is listed.
            most: steps that it may make (code.budget).

        Raises:
            ArtifactError: these are not enough.
        """
        if self._plan is None:
            return None
        if self._begun is not None:
            self._linked.wait()
        self.steps += most  # unless it ends before
        if self._file.architecture != "x86-64":
            found = a64_scan.scan(self._file, self._plan, sought)
        else:
            found = scan(self._file, self._plan, sought, beside=self._begun, most=most)
        self.steps += found.steps - most
        return found

    def _links(self) -> FixedLinks | None:
        """How its parts refer to each other; None where what is reached is not followed."""
        file = self._file
        followed = NATIVE and file.architecture == "x86-64" and file.kind != "object"
        if not followed or len(file.functions) > MOST_FUNCTIONS:
            return None
        links = self._kind.links(file)
        links.search()
        return links

    @property
    def made(self) -> int:
        """About how many steps it takes to find the functions and who calls them."""
        if self._file.kind == "object":
            return 0
        return KNOWN * len(self._file.functions) + self._file.code_size // CODE

    def _searching(self) -> Search | None:
        """A search for what is reached; None where that is not followed."""
        try:
            links = self._links()
        finally:
            self._linked.set()
        if links is None:
            return None
        roots, further = begins(self._file)
        return self._kind(self._file, links, (*roots, *further))

    def _searching_soon(self) -> Search | None:
        """The same, which knows already what is soon come to, and with it what every run meets."""
        search = self._searching()
        if search is not None:
            search.descend()
        self._straight  # noqa: B018
        return search

    @functools.cached_property
    def _straight(self) -> dict[str, int]:
        return _straight_line(self._file)

    @property
    def _kind(self) -> type[Search]:
        return GoSearch if self._file.go_code[1] else Search

    def reached(self, found: Scan, chooses: bool) -> Sought:
        """What of the features is reached without a choice before."""
        if self._file.kind == "object":
            return Sought({})  # its addresses wait for relocation
        if self._file.architecture != "x86-64":
            return Sought(a64_reach.Reached(self._file, frozenset(found.features)).ways)
        search = self._begun.result() if self._begun else None
        uses = found.features.values()
        if any(_SWEPT * use.by.get("sweep", 0) > use.instructions for use in uses):
            claim(self._file, found.pages)
            search = None  # there are more functions than it knows
        search = search or self._searching()
        if search is None:
            return Sought({})
        ways = search.found(found.pages, chooses, found.share if found.signs else 1)
        self.steps += search.steps
        linked = self._file.linked
        return Sought(ways, search.ended and linked, search.named if linked else frozenset())

    def named(self, found: Scan) -> tuple[str, ...]:
        """The features that only functions hold which are named for a CPU."""
        if any(len(use.places) < use.functions for use in found.features.values()):
            listed = {name for each in found.listed for name in each.features}
            if not listed >= found.features.keys():  # they were not all sought
                found = self.scan(found.features) or found
            if found.unlisted:
                return ()
            names = [(each.features, each.name) for each in found.listed]
        else:
            uses = found.features.items()
            names = [({name: 1}, place.name) for name, use in uses for place in use.places]
        plain = {
            each
            for features, name in names
            if not is_named_for_cpus(name, self._file.architecture)
            for each in features
        }
        return tuple(sorted(found.features.keys() - plain))


# By what a file begins with.
_READERS: dict[bytes, Callable[[Source], Binary]] = {
    b"MZ": read_pe,
    **dict.fromkeys((coff.MAGIC, coff.BIG_MAGIC), coff.read_coff),
    **dict.fromkeys((macho.MAGIC, *macho.FURTHER_MAGIC), macho.read_macho),
}


def _read(source: Source, isa: str) -> Binary:
    start = source.some(0, 8)
    if start.startswith(b"\x7fELF"):
        return read_elf(source, _MACHINES[isa])
    read = next((read for magic, read in _READERS.items() if start.startswith(magic)), None)
    if read is None:
        raise ArtifactError("no program, library, object or archive that is known")
    return read(source)


def _straight_line(file: Binary) -> dict[str, int]:
    if file.architecture != "x86-64":
        return a64_reach.straight(file) if file.kind != "object" else {}
    return straight_line(file, forms(), begins(file)[0])


class Sought(NamedTuple):
    """What a search in a file tells.

    Attributes:
        ways: what is reached without a choice before.
        followed: whether that is all.
        named: features to which others come by functions for such CPUs alone, by their names.
    """

    ways: dict[str, Reach]
    followed: bool = False
    named: frozenset[str] = frozenset()


def complete(reading: Reading, found: Scan | None) -> Needs:
    """What a file needs, with what its scan found; None: it was not scanned.

    Raises:
        ArtifactError: compiled wasm that is damaged, or too much work.
    """
    needs = reading.needs()
    if found is None:
        return needs
    dispatch = (*found.signs, *needs.dispatch)
    sought = reading.reached(found, bool(dispatch)) if found.features else Sought({}, True)
    # Where nothing asks and nothing is seen to come there, names may tell that others choose.
    by_name = not (dispatch or sought.followed) and needs.kind in ("library", "object")
    return msgspec.structs.replace(
        needs,
        features=found.features,
        spread=found.spread(),
        functions=found.listed,
        unlisted=found.unlisted,
        sketch=found.sketch,
        unknown=found.unknown,
        dispatch=dispatch,
        reached=sought.ways,
        followed=sought.followed,
        named=(*sorted(sought.named.union(reading.named(found))),) if by_name else (),
        coverage=found.coverage,
    )
