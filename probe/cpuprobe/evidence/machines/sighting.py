"""What the formats share: the pasted text as they see it, what one of them sees, and its card."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cpuprobe.evidence.observation import (
    Claims,
    CpuGroup,
    Cpuinfo,
    Kernel,
    Observation,
    ToldIdentity,
)
from cpuprobe.evidence.text.lines import MAXIMUM_PASTE, LinesOfFile, lines_of
from cpuprobe.facts.gds import GDS_DISABLED, GDS_FILE

Evidence = Literal["all", "cpuid", "kernel", "names", "level", "os", "identity", "none"]


def list_of(fields: Mapping[str, str]) -> str:
    """The kernel's list of features in the fields of a block; empty if it has none."""
    return fields.get("flags") or fields.get("Features", "")


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What one format tells of one machine in one place of a text.

    Attributes:
        source: the format's name in the registry.
        line: the number of the line where it begins, counted from 0.
        isa: `x86_64`, `i686`, the name of another instruction set, or None where it is not told.
        identity: who it says the CPU is.
        groups: CPUs with raw CPUID.
        cpuinfo: the kernel's lists of flags.
        numbered: whether `cpuinfo` names its CPUs; if not, it is about all that are known.
        claims: what it says of features by name.
        vulnerabilities: files of sysfs, by name.
        kernel: release and version.
        cmdline: the known words of the kernel's command line.
        xcr0: the value of XCR0, in formats that tell it beside no CPUID.
        report: what cpuprobe itself measured or read there; nothing else counts beside it.
        nothing: what the text is, where it looks like a machine's and tells of none.
        weak: it only mentions a machine (a form's field, a log's header): what says more of
            another instruction set outweighs it.
    """

    source: str
    line: int = 0
    isa: str | None = None
    identity: ToldIdentity | None = None
    groups: tuple[CpuGroup, ...] = ()
    cpuinfo: tuple[Cpuinfo, ...] = ()
    numbered: bool = False
    claims: tuple[Claims, ...] = ()
    vulnerabilities: dict[str, str] = field(default_factory=dict)
    kernel: Kernel | None = None
    cmdline: tuple[str, ...] | None = None
    xcr0: int | None = None
    weak: bool = False
    nothing: str | None = None
    report: Observation | None = None

    @property
    def tells_features(self) -> bool:
        """Whether there is evidence on any feature in it.

        A mitigation is none, but for the one that switches AVX off.
        """
        off = GDS_DISABLED in self.vulnerabilities.get(GDS_FILE, "")
        return bool(self.groups or self.claims or self.xcr0 is not None or off) or any(
            list_of(block.fields) for block in self.cpuinfo
        )

    @property
    def shows_x86(self) -> bool:
        """Whether there is what only x86 has: CPUID, or a list that its kernel calls `flags`."""
        return any(group.cpuid for group in self.groups) or any(
            "flags" in block.fields for block in self.cpuinfo
        )


class Paste:
    """A clean text as lines, and whole, unless it is larger than anybody pastes."""

    def __init__(self, text: str) -> None:
        """Wrap what `evidence.text` made clean; CaptureError if it has too many lines."""
        self.lines = lines_of(text)
        self.text = text if len(text) <= MAXIMUM_PASTE else ""

    @property
    def seen(self) -> str:
        """What formats find their marks in: the lines, of which overlong ones are left out."""
        return self.lines.text if isinstance(self.lines, LinesOfFile) else self.text

    def take(self, number: int) -> None:
        """Takes a line, so that no format after this one sees it."""
        if isinstance(self.lines, list):
            self.lines[number] = ""

    def matches(self, pattern: re.Pattern[str]) -> Iterator[tuple[int, re.Match[str]]]:
        """Every line in which the pattern is found, with its number."""
        for number, line in enumerate(self.lines):
            match = pattern.search(line)
            if match is not None:
                yield number, match


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format's card.

    Attributes:
        title: what it is, for people.
        carries: what it tells, in words, for docs/captures.md.
        evidence: the kind of evidence, and so how far its silence reaches.
        make: the command that makes the best capture of this kind; empty where none is wanted.
        read: from a text to what is seen in it.
        read_document: from a decoded JSON document; None where the format has no JSON form, or
            an empty answer where this document is none of it.
    """

    title: str
    carries: str
    evidence: Evidence
    make: str = ""
    read: Callable[[Paste], Iterable[Sighting]] = lambda paste: ()
    read_document: Callable[[Any], Iterable[Sighting]] | None = None
