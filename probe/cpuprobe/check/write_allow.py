"""What a file holds beyond the target now, as an allow-list to be given reasons. Pure."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from cpuprobe.check.allow import MAXIMUM_BYTES, MOST_PATTERNS, MOST_ROWS, AllowList, Row
from cpuprobe.check.judge import Fit
from cpuprobe.check.patterns import ends, lasting_file, lasting_symbol, of_any_release
from cpuprobe.facts.isa import X86_64, IsaFacts
from cpuprobe.words import visible

MOST_NAMED = 500
"""Functions of a file beyond which its row does not name them, but counts them."""

_MOST_LETTERS = MAXIMUM_BYTES // 4
"""Of all names together; each may take three bytes, and there is more in a list."""

# TOML 1.0, "String": what may not stand in a basic string as it is.
_UNSAFE = re.compile(r'["\\]')


def allowable(fit: Fit) -> bool:
    """Whether a list can allow what a file holds: not what is proved to be executed, or refused."""
    return fit.expectation in ("guarded", "unguarded") and not (fit.needs and fit.needs.unlisted)


class _Room:
    """What a list may still hold, so that it can be read (check.allow)."""

    def __init__(self, kept: Sequence[Row], files: int) -> None:
        """Less what is kept, and a row for each of so many files."""
        self._rows = MOST_ROWS - len(kept) - files
        self._letters = _MOST_LETTERS
        self._patterns = MOST_PATTERNS
        for row in kept:
            self.takes([row])

    def takes(self, rows: Sequence[Row]) -> bool:
        """Whether these rows of one file find room; if so they have it."""
        names = [name for row in rows for name in (*row.symbols, *row.addresses)]
        further = len(rows) - 1, sum(map(len, names)), sum("*" in _shown(each) for each in names)
        left = self._rows, self._letters, self._patterns
        if any(more > room for more, room in zip(further, left, strict=True)):
            return False
        self._rows, self._letters, self._patterns = (
            room - more for more, room in zip(further, left, strict=True)
        )
        return True


def rows_for(fits: Iterable[Fit], kept: AllowList | None, facts: IsaFacts = X86_64) -> list[Row]:
    """The rows of a new list, reasons empty but for those that are kept.

    A file's functions are named, if there are not too many of them, in it or in all files.

    Args:
        fits: the files that shall be allowed, as an `AllowList` left them if there is one.
        kept: the list so far, applied: what is stale of it is left out.
        facts: the instruction set of the files.
    """
    rows = [] if kept is None else list(kept.lasting())
    every = list(fits)
    paths = [of_any_release(lasting_file(fit.path)) for fit in every]
    if len({*paths}) < len(paths):  # two releases of one archive: their versions tell them apart
        paths = [lasting_file(fit.path) for fit in every]
    counts = Counter(end for path in paths for end in ends(path))
    room = _Room(rows, len(every))
    for fit, path in zip(every, paths, strict=True):
        functions = fit.excess if kept is not None else (fit.needs.functions if fit.needs else ())
        if not functions:
            continue
        # As much of the end of its path as no other file has.
        file = next((end for end in ends(path) if counts[end] == 1), path)
        groups: dict[tuple[str, ...], set[str]] = {}
        for each in functions:
            features = _least(frozenset(fit.missing).intersection(each.features), facts)
            groups.setdefault(features, set()).add(lasting_symbol(each.name))
        named = [
            Row(file=file, features=features, reason="", symbols=tuple(sorted(symbols)))
            for features, symbols in groups.items()
        ]
        names = set[str]().union(*groups.values())
        few = len(names) <= MOST_NAMED and all(name and "*" not in name for name in names)
        if few and room.takes(named):
            rows += named
        else:
            features = _least({name for group in groups for name in group}, facts)
            rows.append(Row(file=file, features=features, reason="", most=len(functions)))
    return rows


def _least(features: Collection[str], facts: IsaFacts) -> tuple[str, ...]:
    """Those that no other of them implies, in the table's order."""
    table = facts.features()
    implied = frozenset[str]().union(*(table.closure(name) for name in features))
    return tuple(name for name in table if name in features and name not in implied)


def to_toml(rows: Iterable[Row], target: str) -> str:
    """A list as TOML.

    Args:
        rows: of it.
        target: what the files were held against.
    """
    lines = [
        f"# What may stand beyond {visible(target)}, and why: cpuprobe check --allow",
        "# A row without a reason is refused.",
    ]
    for row in rows:
        lines += ["", "[[allow]]", f"file = {_text(row.file)}"]
        if row.symbols:
            lines += _list("symbols", row.symbols)
        if row.addresses:
            lines += _list("addresses", row.addresses)
        lines += _list("features", row.features)
        if row.most is not None:
            lines.append(f"most = {row.most}")
        lines.append(f"reason = {_text(row.reason)}")
    return "\n".join(lines) + "\n"


def _list(key: str, values: Sequence[str]) -> list[str]:
    inline = f"{key} = [{', '.join(map(_text, values))}]"
    if len(inline) <= 100:
        return [inline]
    return [f"{key} = [", *(f"    {_text(value)}," for value in values), "]"]


def _shown(value: str) -> str:
    """What can stand in a string of TOML; for what cannot `*`, which stands for anything."""
    printable = os.fsencode(value).decode("utf-8", "replace")
    shown = "".join(each if visible(each) == each else "\ufffd" for each in printable)
    return re.sub("\ufffd+", "*", shown)


def _text(value: str) -> str:
    """A basic string of TOML."""
    return '"' + _UNSAFE.sub(r"\\\g<0>", _shown(value)) + '"'
