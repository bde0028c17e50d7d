"""How most formats are written: an expression for a line, and what its named groups mean.

A group's name says what it is, so that a format is a table. Expressions are bounded: each of them
is tried on every line that holds the rule's word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from cpuprobe.code.image import WINDOW
from cpuprobe.evidence.crashes.model import Clue, Crash, Isa
from cpuprobe.evidence.crashes.status import exit_signal, signal_of
from cpuprobe.words import base_name

HEX = r"(?:0x)?[0-9a-fA-F]{1,16}"

# What texts call an instruction set: `uname -m`, Debian, Windows, Apple, LLVM, QEMU.
ISA_NAMES: Mapping[str, Isa] = MappingProxyType(
    {
        "x86_64": "x86-64",
        "x86-64": "x86-64",
        "amd64": "x86-64",
        "x64": "x86-64",
        "i386": "i386",
        "i486": "i386",
        "i586": "i386",
        "i686": "i386",
        "x86": "i386",
        "ia32": "i386",
        "aarch64": "aarch64",
        "aarch64_be": "aarch64",
        "aarch32": "arm",
        "arm64": "aarch64",
        "arm64e": "aarch64",
        "arm-64": "aarch64",
        "arm64-v8a": "aarch64",
        "armv8": "aarch64",
        "arm": "arm",
        "armhf": "arm",
        "armv6": "arm",
        "armv6l": "arm",
        "armv7": "arm",
        "armv7l": "arm",
        "armv7a": "arm",
        "armeabi": "arm",
        "armeabi-v7a": "arm",
        "riscv64": "riscv64",
        "riscv": "riscv64",
        "risc-v": "riscv64",
        "ppc64": "ppc64",
        "ppc64le": "ppc64",
        "powerpc64": "ppc64",
        "powerpc64le": "ppc64",
        "powerpc": "ppc",
        "s390x": "s390x",
        "mips": "mips",
        "mips64": "mips",
        "mips64el": "mips",
        "mips64le": "mips",
        "mipsle": "mips",
        "mipsel": "mips",
        "loongarch64": "loongarch64",
    }
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of line.

    Attributes:
        needs: what stands in every such line, in lower case.
        pattern: groups by name: see `_GROUPS`, and the names that `clue` looks at.
        tells: what the line says besides its groups.
        begins, aside: see `Clue`.
    """

    needs: str
    pattern: re.Pattern[str]
    tells: Mapping[str, Any] = field(default_factory=dict)
    begins: bool = False
    aside: bool = False


def rule(
    needs: str, pattern: str, *, begins: bool = False, aside: bool = False, **tells: Any
) -> Rule:
    """A rule whose letters match in either case."""
    return Rule(needs, re.compile(pattern, re.IGNORECASE), tells, begins, aside)


def number(text: str) -> int:
    """A hexadecimal number as debuggers print it: WinDbg puts a back quote in its middle."""
    return int(text.replace("`", "").replace("_", ""), 16)


def _status(text: str) -> str | None:
    word = text.strip().lower()
    if word.startswith("0x"):
        return exit_signal(int(word, 16))
    return exit_signal(int(word))


def _module(text: str) -> str:
    return base_name(text.strip().strip("'\"").removesuffix(" (deleted)"))


_WORD = re.compile(r"[<(\[]?(?:0x)?([0-9a-f]{1,2})[>)\]]?[,;]?", re.IGNORECASE)


def marked_bytes(text: str) -> bytes:
    """Bytes in hexadecimal from the marked one on (`<62>`, `(62)`, `[62]`), or all of them.

    Reading ends at the first word that is no byte.
    """
    found = bytearray()
    for piece in text.replace("]", "] ").replace("[", " [").split():
        match = _WORD.fullmatch(piece)
        if match is None:
            break
        if piece[0] in "<([":
            found.clear()
        found.append(int(match[1], 16))
    return bytes(found[:WINDOW])


_GROUPS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "ip": ("address", number),
    "at": ("fault", number),
    "pid": ("pid", int),
    "hexpid": ("pid", number),
    "program": ("program", _module),
    "comm": ("program", str),
    "function": ("function", str),
    "module": ("module", _module),
    "path": ("path", str),
    "offset": ("offset", number),
    "decimal": ("offset", int),
    "size": ("mapping_size", number),
    "signal": ("signal", signal_of),
    "status": ("signal", _status),
    "octal": ("signal", lambda text: exit_signal(int(text, 8))),
    "code": ("code", marked_bytes),
    "word": ("code", lambda text: number(text).to_bytes(4, "little")),
    "text": ("text", str),
    "isa": ("isa", lambda text: ISA_NAMES.get(text.lower())),
}


def clue(rule: Rule, match: re.Match[str], source: str, line: int) -> Clue:
    """What a match of a rule tells."""
    told: dict[str, Any] = dict(rule.tells)
    for group, text in match.groupdict().items():
        if text is None or group not in _GROUPS:
            continue
        name, read = _GROUPS[group]
        try:
            value = read(text)
        except ValueError:
            continue  # a place that the record left empty
        if value not in (None, ""):
            told[name] = value
    start = match.groupdict().get("start")
    if start is not None and "offset" not in told and "address" in told:
        inside = told["address"] - number(start)
        told["origin"] = rule.tells.get("origin", "mapping")
        if inside >= 0:
            told["offset"] = inside
    return Clue(line, Crash(source=source, **told), rule.begins, rule.aside)


class Reader:
    """The rules of all formats, so that a line is looked at only by those whose word it holds."""

    def __init__(self, formats: Mapping[str, Sequence[Rule]], text: str) -> None:
        """Takes the rules whose word stands anywhere in the text (in lower case)."""
        self._rules = [
            (source, rule)
            for source, rules in formats.items()
            for rule in rules
            if rule.needs in text
        ]

    def clues(self, lines: Sequence[str]) -> Iterator[Clue]:
        """The clues in lines, in their order; of one format the first rule that fits a line."""
        for at, line in enumerate(lines):
            low = line.lower()
            taken: set[str] = set()
            for source, rule in self._rules:
                if rule.needs not in low or source in taken:
                    continue
                match = rule.pattern.search(line)
                if match is not None:
                    taken.add(source)
                    yield clue(rule, match, source, at)


def renamed(clue: Clue, **tells: Any) -> Clue:
    """The clue with other facts in its crash."""
    return replace(clue, tells=replace(clue.tells, **tells))
