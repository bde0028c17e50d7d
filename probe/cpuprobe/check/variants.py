"""Files of which a machine takes one: which takes which, and what that means for their fit. Pure.

ld.so and dyld choose by folder (`glibc-hwcaps/x86-64-v3`); programs choose by names (`_avx2`). What
a machine does not take is not executed there; what is taken on more machines than it runs on is
wrong wherever it is. Between programs it is people who choose, unless a script was met that does.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from cpuprobe.check.against import HostCapabilities, within
from cpuprobe.check.judge import Fit, judge
from cpuprobe.check.launchers import Launcher, starts
from cpuprobe.facts.profiles import find_profile
from cpuprobe.facts.tables import load_table
from cpuprobe.words import names

_SEPARATORS = "/!"
_ANY = "x86-64-v1"
"""What rows load on every machine."""
_SLICE = re.compile(r"!(?:x86_64|i386|arm64|machine 0x[0-9a-f]+)$")


class Choice(msgspec.Struct, frozen=True):
    """One of the files.

    Attributes:
        path: its own.
        loads: the profile that a machine must have to take it; None: any machine may.
        fits: as of the file.
    """

    path: str
    loads: str | None
    fits: bool


class Variants(msgspec.Struct, frozen=True):
    """Files of which a machine takes one.

    Attributes:
        name: what they have in common.
        by: what chooses: `ld.so`, `dyld`, or `name` where names alone say that they are variants.
        choices: the files, the one for the newest machines first.
        taken: the path of the one that the judged machine takes; None where it is not known.
    """

    name: str
    by: str
    choices: tuple[Choice, ...]
    taken: str | None


class _Row(NamedTuple):
    """A row of profiles/variants.toml: what takes a file, from which profile on, and its bound."""

    by: str
    loads: str
    may: str | None
    rank: int


class _Kind(NamedTuple):
    """Of what file one is a variant, and the row that says so; None: it is for any machine.

    Where names say so, also the words that do.
    """

    common: str
    row: _Row | None
    words: tuple[str, ...] = ()


@functools.cache
def _host(profile: str) -> HostCapabilities:
    return within(find_profile(profile))


@functools.cache
def _folders() -> tuple[tuple[str, _Row], ...]:
    rows = load_table("variants")["folder"]
    return tuple(
        (row["path"], _Row(row["by"], row["loads"], row.get("may", row["loads"]), rank))
        for rank, row in enumerate(rows)
    )


class _Word(NamedTuple):
    """A word, where it may stand in a name, and its row."""

    text: str
    pattern: re.Pattern[str]
    row: _Row


@functools.cache
def _words() -> tuple[_Word, ...]:
    found = []
    for rank, row in enumerate(load_table("variants")["word"]):
        more = row.get("more", False)
        bound = None if more else row.get("may", row["loads"])
        for word in row["words"]:
            # AVX-512 has words of its own for its parts: avx512f, avx512_skx.
            tail = "[a-z0-9_]*" if word == "avx512" else ""
            pattern = f"[-_.]?(?<![a-z0-9]){re.escape(word)}{tail}(?=[^a-z0-9]|$)"
            found.append(_Word(word, re.compile(pattern), _Row("name", row["loads"], bound, rank)))
    return tuple(found)


@functools.cache
def _any_word() -> re.Pattern[str]:
    return re.compile("|".join(re.escape(word.text) for word in _words()))


def _kind(path: str) -> _Kind:
    for folder, row in _folders():
        for separator in _SEPARATORS:
            before, found, name = path.rpartition(f"{separator}{folder}/")
            if found:
                return _Kind(f"{before}{separator}{name}", row)
        if path.endswith(f"!{folder}"):
            return _Kind(path.removesuffix(f"!{folder}"), row)
    path = _SLICE.sub("", path)
    if not _any_word().search(path.lower()):
        return _Kind(path, None)
    at = max(path.rfind(each) for each in _SEPARATORS) + 1
    folders, name = path[:at], path[at:]
    met: list[_Word] = []
    for word in _words():
        match = word.pattern.search(name.lower())
        if match is not None:
            name = name[: match.start()] + name[match.end() :]
            met.append(word)
        shorter = re.sub(f"(?<=[/!]){re.escape(word.text)}/", "", folders, flags=re.IGNORECASE)
        if shorter != folders:
            folders = shorter
            met.append(word)
    first = min((word.row for word in met), key=lambda row: row.rank, default=None)
    words = tuple(word.text for word in met if word.row.loads != _ANY)
    return _Kind(folders + name, first, words)


def settle(
    fits: Sequence[Fit], against: HostCapabilities, launchers: Sequence[Launcher] = ()
) -> tuple[list[Fit], tuple[Variants, ...]]:
    """Judges variants by what takes them.

    Args:
        fits: of files as they are, variants or not.
        against: the machine.
        launchers: scripts that were met and ask what the CPU can do.

    Returns:
        The same files, and the groups of variants among them.
    """
    if against.isa != "x86-64":  # the rows are of its levels
        return list(fits), ()
    kinds = [_kind(fit.path) for fit in fits]
    groups: dict[str, list[int]] = defaultdict(list)
    for number, kind in enumerate(kinds):
        if not _is_linked(fits[number]):
            groups[kind.common].append(number)
    settled = list(fits)
    told = []
    for common, numbers in groups.items():
        rows = [row for number in numbers if (row := kinds[number].row) and row.loads != _ANY]
        by = next((row.by for row in rows), "")
        # By names alone: something must be left that such a machine could take.
        if not by or (by == "name" and not (numbers[1:] and any(fits[at].fits for at in numbers))):
            continue
        numbers.sort(key=lambda number: _rank(kinds[number]))
        choices = []
        for number in numbers:
            row = kinds[number].row
            fit = _settled(fits[number], row, against)
            excused = by == "name" and fit.fits and not fits[number].fits
            if excused and _is_program(fit):
                started = starts(launchers, _name(common), kinds[number].words)
                fit = fit if started else _left_to_people(fits[number])
            settled[number] = fit
            choices.append(Choice(fit.path, row.loads if row else None, fit.fits))
        told.append(Variants(common, by, tuple(choices), _taken(by, choices, against)))
    return settled, tuple(told)


def _rank(kind: _Kind) -> int:
    return kind.row.rank if kind.row else 1 << 10


def _settled(fit: Fit, row: _Row | None, against: HostCapabilities) -> Fit:
    if fit.fits or fit.needs is None or row is None:
        return fit
    chooser = row.by if row.by != "name" else "what loads it, going by the names beside it,"
    there = None if row.may is None else judge(fit.path, fit.needs, _host(row.may))
    if there is not None and not there.fits:
        return msgspec.structs.replace(
            fit,
            expectation="unguarded",
            reason=f"{chooser} takes it on every machine with {row.loads}, and it needs more: "
            f"{names(there.missing, 6)}",
        )
    lacking = [name for name in _host(row.loads).safe if name not in against.safe]
    if not lacking:
        return fit
    return msgspec.structs.replace(
        fit,
        expectation="guarded",
        fits=True,
        reason=f"not taken there: {chooser} takes it on machines with {row.loads}, and this one "
        f"lacks {names(sorted(lacking), 4)}",
    )


def _is_linked(fit: Fit) -> bool:
    """An object is no variant: what links it takes it on every machine."""
    return fit.needs is not None and fit.needs.kind == "object"


def _is_program(fit: Fit) -> bool:
    return fit.needs is not None and fit.needs.kind == "executable"


def _name(path: str) -> str:
    return re.split(f"[{_SEPARATORS}]", path)[-1].lower()


def _left_to_people(fit: Fit) -> Fit:
    """A program that is one of several, which a list may allow, even where it is sure to die."""
    return msgspec.structs.replace(
        fit,
        expectation="unguarded",
        reason="one of several by its name, and no script was met that asks the CPU before it "
        f"starts one: that is left to people; {fit.reason}",
    )


def _taken(by: str, choices: Sequence[Choice], against: HostCapabilities) -> str | None:
    if by == "name":
        return None
    fitting = (
        each.path
        for each in choices
        if each.loads is None or _host(each.loads).safe <= against.safe
    )
    return next(fitting, None)
