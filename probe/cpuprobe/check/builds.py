"""Two builds of the same files: what they hold beyond a machine, before and now. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal

import msgspec

from cpuprobe.check.gate import ORDER
from cpuprobe.check.judge import Expectation, Fit
from cpuprobe.check.patterns import ends, lasting_file, lasting_symbol, without_abi
from cpuprobe.code.needs import Function, Use

ALIKE = 0.3
"""Share of a sketch that two builds of one file have in common, at least."""
_MOST_COMPARED = 200_000
_MOST_SETS = 200
"""Different sets of features that functions of one name are looked through for a counterpart."""
_VERSION = re.compile(r"\d+(?:[._]\d+)*")

# How two files were found to be builds of one:
#   path     the same name below the arguments
#   name     the same but for versions and Python's ABI, or for the folder
#   content  most names in them are the same
#   alone    there was only one on each side
Match = Literal["path", "name", "content", "alone"]


class Change(msgspec.Struct, frozen=True):
    """One feature in two builds of a file; each pair is before, now."""

    instructions: tuple[int, int]
    functions: tuple[int, int]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Two builds of one file.

    Attributes:
        path: of the new one; None where it is gone.
        old: of the old one; None where it is new.
        match: how they were found to be one; None for one alone.
        expectation: of the new one.
        was: of the old one.
        worse: it does not fit now, and its verdict was a better one.
        features: those whose counts have changed.
        beyond: those of them that the machine lacks.
        came: functions with what the machine lacks that no function of that name had.
        went: those of the old one that have no such counterpart any more.
        fails: something beyond the machine came, and no allow-list allows it.
    """

    path: str | None
    old: str | None
    match: Match | None = None
    expectation: Expectation | None = None
    was: Expectation | None = None
    worse: bool = False
    features: dict[str, Change] = {}
    beyond: tuple[str, ...] = ()
    came: tuple[Function, ...] = ()
    went: tuple[Function, ...] = ()
    fails: bool = False


def compare(
    new: Sequence[Fit], old: Sequence[Fit], roots: Sequence[str], old_roots: Sequence[str]
) -> list[Difference]:
    """What came and went.

    Args:
        new: files as they are now, every function listed that holds what the machine lacks, and
            after an allow-list has been applied.
        old: as they were.
        roots: the paths below which the new ones were found.
        old_roots: likewise.

    Returns:
        One for each file, new ones in their order, then those that are gone.
    """
    pairs = _pairs(new, old, roots, old_roots)
    differences = []
    for at, fit in enumerate(new):
        before, how = pairs.get(at, (None, None))
        differences.append(_difference(fit, None if before is None else old[before], how))
    met = {before for before, _ in pairs.values()}
    return differences + [
        Difference(path=None, old=fit.path, was=fit.expectation)
        for at, fit in enumerate(old)
        if at not in met
    ]


def _difference(new: Fit, old: Fit | None, how: Match | None) -> Difference:
    before = {} if old is None or old.needs is None else old.needs.features
    # Of what is not read any more it is not known what went.
    now = before if new.needs is None else new.needs.features
    features = {
        name: Change(
            _pair(before, now, name, "instructions"), _pair(before, now, name, "functions")
        )
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    }
    features = {
        name: change
        for name, change in features.items()
        if len({*change.instructions}) > 1 or len({*change.functions}) > 1
    }
    was = () if old is None or old.needs is None else old.needs.functions
    functions = () if new.needs is None else new.needs.functions
    lacking = frozenset(new.missing)
    gone = () if old is None else old.missing
    came = _beyond(functions, was, lacking)
    excess = {(each.name, each.start) for each in new.excess}
    fails = [each for each in came if not new.permissions or (each.name, each.start) in excess]
    # What no list of functions shows: more of them than are listed, or compiled wasm.
    unseen = lacking - {name for each in functions for name in each.features} - {*before}
    worse = (
        old is not None
        and not new.fits
        and ORDER.index(new.expectation) < ORDER.index(old.expectation)
    )
    return Difference(
        path=new.path,
        old=None if old is None else old.path,
        match=how,
        expectation=new.expectation,
        was=None if old is None else old.expectation,
        worse=worse,
        features=features,
        beyond=tuple(dict.fromkeys(name for name in (*new.missing, *gone) if name in features)),
        came=tuple(came),
        went=tuple(_beyond(was, functions, lacking | {*gone})) if new.needs is not None else (),
        fails=bool(fails or worse or (unseen and not new.allowed)),
    )


def _pair(before: dict[str, Use], now: dict[str, Use], name: str, count: str) -> tuple[int, int]:
    one, other = (getattr(uses[name], count) if name in uses else 0 for uses in (before, now))
    return one, other


def _beyond(
    mine: Iterable[Function], others: Iterable[Function], lacking: frozenset[str]
) -> list[Function]:
    """Those functions that have no counterpart: one of the same name with all their features.

    Each counterpart counts once. Functions without a name are told apart by features alone.
    """
    left: dict[str, Counter[frozenset[str]]] = {}
    for each in others:
        sets = left.setdefault(lasting_symbol(each.name), Counter())
        sets[lacking.intersection(each.features)] += 1
    pending = []
    for each in mine:
        features = lacking.intersection(each.features)
        sets = left.get(lasting_symbol(each.name), Counter())
        if sets[features] > 0:
            sets[features] -= 1
        elif features:
            pending.append((each, features, sets))
    found = []
    for each, features, sets in pending:
        some = islice(sets, _MOST_SETS)
        wider = next((other for other in some if sets[other] > 0 and features < other), None)
        if wider is None:
            found.append(each)
        else:
            sets[wider] -= 1
    return found


# --- which is which ------------------------------------------------------------------------------


def _pairs(
    new: Sequence[Fit], old: Sequence[Fit], roots: Sequence[str], old_roots: Sequence[str]
) -> dict[int, tuple[int, Match]]:
    """By number of the new file: of the old one, and how they were matched."""
    pairs: dict[int, tuple[int, Match]] = {}
    left = [_below(fit.path, roots) for fit in new]
    right = [_below(fit.path, old_roots) for fit in old]
    steps: list[tuple[Match, tuple[list[str], list[str]]]] = [
        ("path", (left, right)),
        ("name", ([*map(_plain, left)], [*map(_plain, right)])),
        ("name", ([*map(_last, left)], [*map(_last, right)])),
    ]
    for how, (mine, theirs) in steps:
        taken = {before for before, _ in pairs.values()}
        ours = _unique(mine, pairs.keys())
        other = _unique(theirs, taken)
        pairs.update({ours[name]: (other[name], how) for name in ours.keys() & other.keys()})
    taken = {before for before, _ in pairs.values()}
    rest = [at for at in range(len(new)) if at not in pairs]
    gone = [at for at in range(len(old)) if at not in taken]
    for at, before in _alike(new, old, rest, gone):
        pairs[at] = before, "content"
    if len(new) == len(old) == 1:
        pairs.setdefault(0, (0, "alone"))
    return pairs


def _below(path: str, roots: Sequence[str]) -> str:
    """A path below the argument that it was found by; of an argument itself its name."""
    for root in roots:
        base = root.rstrip("/")
        if path.startswith((f"{base}/", f"{base}!")):
            return path[len(base) + 1 :]
    return next(ends(path))


def _plain(name: str) -> str:
    return _VERSION.sub("#", without_abi(lasting_file(name)))


def _last(name: str) -> str:
    return next(ends(_plain(name)))


def _unique(names: Sequence[str], taken: Iterable[int]) -> dict[str, int]:
    """The numbers of names that occur but once among those that are left."""
    done = set(taken)
    left = {at: name for at, name in enumerate(names) if at not in done}
    counts = Counter(left.values())
    return {name: at for at, name in left.items() if counts[name] == 1}


def _alike(
    new: Sequence[Fit], old: Sequence[Fit], rest: Sequence[int], gone: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Files that are alike by their sketches, the most alike first."""
    if len(rest) * len(gone) > _MOST_COMPARED:
        return
    scores = sorted(
        ((_likeness(new[at], old[before]), at, before) for at in rest for before in gone),
        key=lambda row: (-row[0], row[1:]),
    )
    seen: tuple[set[int], set[int]] = set(), set()
    for score, at, before in scores:
        if score >= ALIKE and at not in seen[0] and before not in seen[1]:
            seen[0].add(at)
            seen[1].add(before)
            yield at, before


def _likeness(one: Fit, other: Fit) -> float:
    """How much of what two sketches have together both have: about the share of names in common."""
    if one.needs is None or other.needs is None:
        return 0.0
    left, right = set(one.needs.sketch), set(other.needs.sketch)
    if not left or not right:
        return 0.0
    smallest = sorted(left | right)[: max(len(left), len(right))]
    return len(left & right & {*smallest}) / len(smallest)
