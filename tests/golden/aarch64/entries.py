"""Reads native/isa/aarch64/candidates/candidates.list."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.golden.headers import ListError, check_name, options_of

FOLDER = Path(__file__).resolve().parents[3] / "native" / "isa" / "aarch64" / "candidates"
CHECKS = ("VALUE", "RUNS", "HINT", "RANDOM", "SIGNED", "WIDE", "STREAMING")
CLASSES = ("GPR", "FP", "SVE", "SME")
_OPTIONS = ("results", "name", "like", "state")
_WORD = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class Entry:
    """One line: see the comment at the top of candidates.list for its fields."""

    line: int
    features: tuple[str, ...]
    text: str
    words: tuple[int, ...]
    input: str
    check: str
    results: str
    short: str
    like: str
    state: str

    @property
    def name(self) -> str:
        """What the table calls it: the instruction, or the short name of a sequence."""
        return self.short or self.text

    @property
    def register_class(self) -> str:
        """The least register state that holds inputs and outputs: by the names of operands."""
        if self.state:
            return self.state.upper()
        if "za" in self.text:
            return "SME"
        named = re.findall(r"(?<![\w#])([a-z]+)\d+(?![\w:])", self.text)
        if {"z", "p", "pn"} & {*named}:
            return "SVE"
        return "FP" if {"v", "q", "d", "s", "h", "b"} & {*named} else "GPR"


def read_list(text: str) -> list[Entry]:
    """Parse the list.

    Raises:
        ListError: a field is unknown or a name appears twice; the message gives the line.
    """
    entries: list[Entry] = []
    seen: set[str] = set()
    for number, raw in enumerate(text.splitlines(), 1):
        if not raw.strip() or raw.startswith("#"):
            continue
        fields = [f.strip() for f in raw.split("|")]
        if len(fields) < 4:
            raise ListError(
                f"candidates.list:{number}: expected features | instruction | words | input"
            )
        check, options = options_of(number, fields[4:], CHECKS, _OPTIONS)
        if not all(_WORD.fullmatch(word) for word in fields[2].split()):
            raise ListError(f"candidates.list:{number}: words are eight hexadecimal digits")
        entry = Entry(
            line=number,
            features=tuple(f.strip() for f in fields[0].split(",")),
            text=fields[1],
            words=tuple(int(word, 16) for word in fields[2].split()),
            input=fields[3].upper(),
            check=check,
            results=options["results"],
            short=options["name"],
            like=options["like"],
            state=options["state"],
        )
        check_name(entry.line, entry.name, seen)
        if len(entry.words) != len(entry.text.split("; ")):
            raise ListError(f"candidates.list:{number}: a word for each instruction")
        entries.append(entry)
    return entries
