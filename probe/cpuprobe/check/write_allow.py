"""What a file holds beyond the target now, as an allow-list to be given reasons. Pure."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from cpuprobe.check.allow import AllowList, Row
from cpuprobe.check.judge import Fit
from cpuprobe.check.patterns import ends, lasting_file, lasting_symbol
from cpuprobe.code.needs import Function
from cpuprobe.facts.isa import X86_64, IsaFacts
from cpuprobe.words import visible

MOST_NAMED = 500
"""Functions of a file beyond which its row does not name them, but counts them."""

# TOML 1.0, "String": what may not stand in a basic string as it is; and what this tool never
# prints, which is escaped as well.
_UNSAFE = re.compile(r'["\\]')


def allowable(fit: Fit) -> bool:
    """Whether a list can allow what a file holds: not what is proved to be executed, or refused."""
    return fit.expectation in ("guarded", "unguarded") and not (fit.needs and fit.needs.unlisted)


def rows_for(fits: Iterable[Fit], kept: AllowList | None, facts: IsaFacts = X86_64) -> list[Row]:
    """The rows of a new list, reasons empty but for those that are kept.

    Args:
        fits: the files that shall be allowed, as an `AllowList` left them if there is one.
        kept: the list so far, applied: what is stale of it is left out.
        facts: the instruction set of the files.
    """
    rows = [] if kept is None else list(kept.lasting())
    every = list(fits)
    counts = Counter(end for fit in every for end in ends(lasting_file(fit.path)))
    for fit in every:
        functions = fit.excess if kept is not None else (fit.needs.functions if fit.needs else ())
        # As much of the end of its path as no other file has.
        path = lasting_file(fit.path)
        file = next((end for end in ends(path) if counts[end] == 1), path)
        rows += _rows(file, functions, frozenset(fit.missing), facts)
    return rows


def _rows(
    file: str, functions: Sequence[Function], lacking: frozenset[str], facts: IsaFacts
) -> Iterator[Row]:
    if not functions:
        return
    names = {lasting_symbol(each.name) for each in functions}
    beyond = [_least(lacking.intersection(each.features), facts) for each in functions]
    if len(names) > MOST_NAMED or "" in names or any("*" in name for name in names):
        features = _least({name for each in beyond for name in each}, facts)
        yield Row(file=file, features=features, reason="", most=len(functions))
        return
    groups: dict[tuple[str, ...], set[str]] = {}
    for function, features in zip(functions, beyond, strict=True):
        groups.setdefault(features, set()).add(lasting_symbol(function.name))
    for features, symbols in groups.items():
        yield Row(file=file, features=features, reason="", symbols=tuple(sorted(symbols)))


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


def _text(value: str) -> str:
    """A basic string of TOML; what cannot stand in one is `*`, which stands for anything."""
    printable = os.fsencode(value).decode("utf-8", "replace")
    shown = "".join(each if visible(each) == each else "\ufffd" for each in printable)
    return '"' + re.sub("\ufffd+", "*", _UNSAFE.sub(r"\\\g<0>", shown)) + '"'
