"""What the files need that one file holds: an archive, a package, an image."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from cpuprobe.check import meter
from cpuprobe.check.launchers import MOST, Launcher, launcher
from cpuprobe.check.patterns import excluder
from cpuprobe.code.archives.allowance import Allowance, SpentError
from cpuprobe.code.archives.images import (
    LAYER,
    MOST_IN_ALL,
    MOST_NAMES,
    MOST_SAID,
    Image,
    images,
    visible,
)
from cpuprobe.code.archives.table import ELF, MODULE, OTHER, SCRIPT
from cpuprobe.code.archives.walk import BETWEEN, LINK, Member, members, members_of_folder
from cpuprobe.code.budget import BUDGET
from cpuprobe.code.elf import ArtifactError, Source
from cpuprobe.code.hidden import UnreadError
from cpuprobe.code.library import Library, alone
from cpuprobe.code.needs import Needs
from cpuprobe.code.read import Reading, complete
from cpuprobe.errors import CaptureError
from cpuprobe.files import OpenedFile, size_of

FILE = 6000
"""Steps for each file of code in it, whatever code it has: OpenBLAS has 16,000 small objects."""
READ, READ_ELF = 2, 1 / 8
"""Steps for each byte of a file of code: tables of other files than ELF are read in Python."""
DAMAGED = 8
"""Steps for each byte of one that cannot be read: it is not known how far it was."""
MOST_TOLD = 8 << 20
"""Characters in the names of all files that are told of, each of which is written many times."""
MOST_MODULES = 20
"""WebAssembly modules that are handed on to be compiled, and MOST_MODULE bytes of them."""
MOST_MODULE = 16 << 20


class Asked(NamedTuple):
    """What is asked of each file.

    Attributes:
        sought: features of which every function is listed, in `Needs.functions`.
        isa: the instruction set whose code is read.
        excluded: patterns of names that are not looked into (`excluder`).
    """

    sought: tuple[str, ...] = ()
    isa: str = "x86-64"
    excluded: tuple[str, ...] = ()


PLAINLY = Asked()


class Met(NamedTuple):
    """One file that was met, with one of these.

    Attributes:
        name: with those of what it lies in.
        needs: what it needs.
        unread: of what kind it is, which is not read.
        error: why it cannot be read.
        module: a WebAssembly module, to be compiled by whoever can; `unread` holds if none can.
    """

    name: str
    needs: Needs | None = None
    unread: str = ""
    error: str = ""
    module: bytes = b""


class Contents(NamedTuple):
    """What one file holds.

    Attributes:
        met: what may hold code, in order.
        unread: how many others there are of what kind.
        launchers: scripts that ask what the CPU can do.
    """

    met: list[Met]
    unread: Counter[str]
    launchers: list[Launcher]


def contents(path: str, asked: Asked = PLAINLY) -> Contents:
    """Reads all that a file holds.

    Args:
        path: the file.
        asked: what is asked of all that is in it.

    Raises:
        ArtifactError: it cannot be opened.
    """
    excluded = excluder(asked.excluded)
    try:
        if os.path.isdir(path):
            allowance = Allowance(size_of(path))
            found = members_of_folder(path, allowance, excluded)
            return _Reader(found, allowance, path, asked).contents()
        with OpenedFile(path) as file:
            allowance = Allowance(file.filled())
            found = members(file, path, allowance, excluded)
            return _Reader(found, allowance, path, asked).contents()
    except CaptureError as error:
        raise ArtifactError(str(error).removeprefix(f"{path}: ")) from None


class _Reader:
    """Reads one file, and keeps count of what that costs."""

    def __init__(
        self, found: Iterator[Member], allowance: Allowance, path: str, asked: Asked
    ) -> None:
        """Reads it.

        Args:
            found: what is in it.
            allowance: what is charged for it.
            path: its own.
            asked: what is asked of each file in it.
        """
        self._path = path
        self._asked = asked
        self._allowance = allowance
        self._modules = self._module_bytes = 0
        self._met: list[Met] = []
        self._unread: Counter[str] = Counter()
        self._said: dict[str, bytes] = {}
        self._launchers: list[Launcher] = []
        self._layers: dict[str, list[str]] = {}
        self._links: dict[tuple[str, str], str] = {}
        self._same: dict[str, str] = {}
        self._alone: dict[str, bool] = {}
        self._names = self._said_size = self._told = 0
        self._library, self._objects = "", Library()
        try:
            for member in found:
                if member.library != self._library:
                    self._know_together(member.library)
                self._member(member)
        except ArtifactError as error:
            self._met.append(Met(path, error=str(error)))
        self._know_together("")

    def contents(self) -> Contents:
        """What was found; of images what a run sees."""
        met = self._met
        try:
            longest = max(map(len, self._said.values()), default=0)
            if longest > MOST_SAID and (self._layers or self._alone):
                raise ArtifactError(f"an image is described in more than {MOST_SAID >> 20} MiB")
            known = images(self._said)
            if known:
                met = [each for each in met if self._layer(each.name)[0] not in self._layers]
                for image in known:
                    met += self._seen(image)
        except ArtifactError as error:
            met = [*self._met, Met(self._path, error=str(error))]
        return Contents(met, self._unread, self._launchers)

    def _inside(self, name: str) -> str:
        """The path of a member in the whole."""
        return name[len(self._path) + len(BETWEEN) :]

    def _layer(self, name: str) -> tuple[str, str]:
        """In which layer a member lies, and where there; empty: in none."""
        layer, _, inside = self._inside(name).partition(BETWEEN)
        return (layer, inside) if inside and LAYER.fullmatch(layer) else ("", "")

    def _seen(self, image: Image) -> Iterator[Met]:
        order = [self._same.get(layer, layer) for layer in image.layers]
        for layer in order:
            if LAYER.fullmatch(layer) and not (layer in self._layers or layer in self._alone):
                yield Met(f"{self._path}{BETWEEN}{layer}", unread="layer that is not there")
            elif self._alone.get(layer):
                yield Met(f"{self._path}{BETWEEN}{layer}", unread="layer of an unknown kind")
        seen = dict(
            zip(order, visible([self._layers.get(each, []) for each in order]), strict=True)
        )
        # A file that is hidden may be seen by another of its names.
        others = {
            (layer, self._links[layer, name]): name
            for layer in self._layers
            for name in seen.get(layer, ())
            if (layer, name) in self._links
        }
        for each in self._met:
            layer, inside = self._layer(each.name)
            name, between, rest = inside.partition(BETWEEN)
            known = name if name in seen.get(layer, ()) else others.get((layer, name))
            if known is not None:
                parts = (self._path, image.name, f"{known}{between}{rest}")
                yield each._replace(name=BETWEEN.join(filter(None, parts)))

    def _member(self, member: Member) -> None:
        layer, inside = self._layer(member.name)
        self._names += len(inside) + len(member.link.path if member.link else "")
        if self._names > MOST_NAMES:
            raise ArtifactError("an image with more paths than any")
        if layer:
            self._layers.setdefault(layer, []).append(inside.partition(BETWEEN)[0])
            if member.link and member.link.hard:
                self._links[layer, inside] = member.link.path
        elif LAYER.fullmatch(path := self._inside(member.name)):
            if member.link:
                self._same[path] = member.link.path
            else:
                self._alone[path] = member.kind is OTHER and any(member.said)
        if member.kind is SCRIPT:
            self._launchers += launcher(member.name, member.said)[: MOST - len(self._launchers)]
        elif member.said:
            self._said[self._inside(member.name)] = member.said
            self._said_size += len(member.said)
            if self._said_size > MOST_IN_ALL:
                raise ArtifactError(f"images are described in more than {MOST_IN_ALL >> 20} MiB")
        if member.source is not None and member.kind is MODULE:
            self._tell(self._module(member, member.source))
        elif member.source is not None:
            self._tell(self._judged(member, member.source))
        elif member.error:
            self._tell(Met(member.name, error=f"{member.kind.name}: {member.error}"))
        elif member.kind.named:
            self._tell(Met(member.name, unread=member.kind.name))
        elif member.kind is not LINK:
            self._unread[member.kind.name] += 1

    def _tell(self, met: Met) -> None:
        self._met.append(met)
        self._told += len(met.name)
        if self._told > MOST_TOLD:
            raise ArtifactError(f"files to tell of with more than {MOST_TOLD >> 20} MiB of names")

    def _know_together(self, library: str) -> None:
        """Looks at all objects of the last static library together; begins another."""
        for number, needs in self._objects.judged():
            self._met[number] = self._met[number]._replace(needs=needs)
        self._allowance.left -= self._objects.steps
        self._library, self._objects = library, Library()

    def _module(self, member: Member, source: Source) -> Met:
        self._allowance.spend(FILE)
        self._modules += 1
        self._module_bytes += source.size
        if self._modules > MOST_MODULES or self._module_bytes > MOST_MODULE:
            return Met(member.name, unread=MODULE.name)
        return Met(member.name, unread=MODULE.name, module=source.some(0, source.size))

    def _judged(self, member: Member, source: Source) -> Met:
        self._allowance.spend(FILE + (READ_ELF if member.kind is ELF else READ) * source.size)
        try:
            return Met(member.name, self._needs(member, source))
        except UnreadError as error:
            return Met(member.name, unread=str(error))
        except SpentError:
            raise
        except ArtifactError as error:
            self._allowance.left -= DAMAGED * source.size
            return Met(member.name, error=str(error))
        except MemoryError:
            return Met(member.name, error="it takes more memory than there is")

    def _needs(self, member: Member, source: Source) -> Needs:
        reading = Reading(source, self._asked.isa)
        allowance = self._allowance
        try:
            allowance.spend(reading.made)
            found = reading.scan(self._asked.sought, min(BUDGET, int(allowance.left)))
            needs = complete(reading, found)
        finally:
            allowance.left -= reading.steps
        meter.count(source.size)
        if member.library:
            self._objects.add(len(self._met), needs, source)
            return needs
        needs, steps = alone(needs, source)
        allowance.left -= steps
        return needs
