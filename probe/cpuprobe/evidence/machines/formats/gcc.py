"""What gcc, clang and rustc think of the machine that they were told to build for.

That is the machine they ran on only with `native`: `gcc -march=native -Q --help=target`,
`gcc -march=native -###`, `clang -march=native -###`, `rustc -C target-cpu=native --print cfg`.
Without that word it is what somebody chose, and tells of no machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.isa import X86, isa_named
from cpuprobe.evidence.machines.names import claims_of_names, feature_named
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_HELP = re.compile(r"^[ \t]*-m([a-z0-9][a-z0-9.-]*)[ \t]+\[(enabled|disabled)\]")
_OPTION = re.compile(r"(?<![\w-])[\"']?-m(no-)?([a-z0-9][a-z0-9.-]*)[\"']?(?=\s|$)")
_LLVM = re.compile(r"-target-feature[\"']?[ \t]+[\"']?([+-])([a-z0-9.-]+)")
_RUST = re.compile(r"^[ \t]*target_feature=\"([a-z0-9._-]+)\"")
# gcc -march=native -dM -E, which is as often searched with grep: what is not there is not denied.
_MACRO = re.compile(r"^[ \t]*#define _{0,2}([A-Z][A-Z0-9_]{1,20}?)_{0,2} 1\s*$")
_RUST_ARCH = re.compile(r"^[ \t]*target_arch=\"(\w+)\"")
_TARGET = re.compile(r"^Target: ([a-z0-9_]+)-|[\"']?-triple[\"']?[ \t]+[\"']?([a-z0-9_]+)-", re.M)
# `-march=native` was resolved by the driver: only then it passes on what it measured of the caches.
_NATIVE = re.compile(
    r"(?:march|mcpu|target-cpu|mtune)[= ]+[\"']?native|--param[ =\"']+l1-cache-size="
)
# A cross compiler's driver does not know `native` and drops it.
_UNRESOLVED = re.compile(r"^[ \t]*-march=[ \t]*$", re.MULTILINE)
_NAMES = {"abm": "lzcnt", "fxsr": "fxsr", "sahf": "sahf", "cx16": "cx16", "80387": "x87"}
_NOT_TOLD = (
    "lists what a compiler builds for; whether that is its own machine (-march=native,"
    " -C target-cpu=native) is not told, so it describes no machine"
)
_NOT_RESOLVED = (
    "lists what a compiler builds for that did not resolve -march=native (its -march= is empty), so"
    " it describes no machine"
)
_ENOUGH = 6
_ALL_OF_LLVM = 40  # a named CPU is passed on by its name and a few features, native by all


def _read(paste: Paste) -> Iterator[Sighting]:
    yes: set[str] = set()
    no: set[str] = set()
    rust: set[str] = set()
    first: int | None = None
    foreign: str | None = None
    for number, line in enumerate(paste.lines):
        found = _of_line(line)
        if found:
            yes.update(name for name, on in found if on)
            no.update(name for name, on in found if not on)
        elif (match := _RUST.match(line) or _macro(line)) is not None:
            rust.add(match[1])
        elif (match := _RUST_ARCH.match(line)) or (match := _TARGET.search(line)):
            isa = isa_named(match[match.lastindex or 1])
            foreign = isa if isa is not None and isa not in X86 else foreign
        else:
            continue
        first = number if first is None else first
    if first is None or not (yes or no or rust or foreign):
        return
    if foreign is not None:
        yield Sighting(source="gcc", line=first, isa=foreign, weak=not (yes or no or rust))
    elif not (yes or no or rust):
        return
    elif _UNRESOLVED.search(paste.text):
        yield Sighting(source="gcc", line=first, nothing=_NOT_RESOLVED)
    elif not (_NATIVE.search(paste.text) or paste.text.count("-target-feature") >= _ALL_OF_LLVM):
        yield Sighting(source="gcc", line=first, nothing=_NOT_TOLD)
    else:
        source = "rustc" if rust and not yes else "gcc"
        claims = claims_of_names(source, "cpuid+os", yes | rust, no, _NAMES)
        yield Sighting(source=source, line=first, claims=(claims,))


def _macro(line: str) -> re.Match[str] | None:
    """A compiler's macro, if it is one for a feature."""
    match = _MACRO.match(line)
    return match if match is not None and feature_named(match[1]) is not None else None


def _of_line(line: str) -> list[tuple[str, bool]]:
    """The switches in a line: one of `-Q --help=target`, or the many of a compiler's own call."""
    if "-target-feature" in line:
        return [(name, sign == "+") for sign, name in _LLVM.findall(line)]
    match = _HELP.match(line) if "-m" in line else None
    if match is not None:
        return [(match[1], match[2] == "enabled")]
    options = [(name, not no) for no, name in _OPTION.findall(line)] if "-m" in line else []
    return options if len(options) >= _ENOUGH else []


FORMAT = Format(
    title="gcc -march=native -Q --help=target, gcc and clang -march=native -###, rustc --print cfg",
    carries="with `native`: gcc and clang both ways, rustc positive only, all after a look at XCR0;"
    " without: nothing of a machine",
    evidence="names",
    make="gcc -march=native -Q --help=target",
    read=_read,
)
