"""What is come to from where every run or load begins, followed downwards along calls.

Of a build for a newer CPU that is found within a few calls, where code.reach would go back from
thousands of functions.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable

from cpuprobe.code.asking import Functions
from cpuprobe.code.links import Links
from cpuprobe.code.native import lib
from cpuprobe.code.needs import By
from cpuprobe.code.program import Binary
from cpuprobe.code.summary import FLAG, Call
from cpuprobe.code.tiers import MORE, TOP, tier

_Way = tuple[int, None] | tuple[Call, "_Way"]
"""A call and the way to it, which begins at a root."""
STEPS = 20_000
"""Steps (ways.MOST_STEPS) that are made."""
_EXPORTS, _OF_EACH, _SEVERAL = 32, 1_000, 2
"""Exported functions, spread over all, from which it is gone downwards; steps for each; and so many
that come to a feature. Of 108 files that run without it none has one; of finufft 2.5.1, which does
not, four have AVX."""
WIDELY = 0.4
"""Share of larger functions that hold features from which on that is done, where few searches end:
of a build for newer CPUs most do (finufft: 52 %), but for what else has been linked into it."""


def descend(
    functions: Functions,
    links: Links,
    roots: Iterable[int],
    is_named: Callable[[int], bool],
    told: int = 0,
    steps: int = STEPS,
) -> dict[str, tuple[int, int]]:
    """The features that are come to: the address of the first instruction, and from which root.

    Args:
        functions: those of the file.
        links: of the file.
        roots: where every run or load begins.
        is_named: whether a function is named for CPUs.
        told: the labels of the roots' arguments that may tell of the CPU; then flags of objects may
            too.
        steps: that are made.
    """
    met: dict[str, tuple[int, int]] = {}
    every = (1 << TOP + 1) - 1
    queue = deque[tuple[int, int, int, _Way]]((root, told, every, (root, None)) for root in roots)
    seen = {(root, told): every for root in roots}
    left, functions.left = functions.left, steps
    while queue and functions.left > 0:
        start, answers, tiers, way = queue.popleft()
        summary = functions.summary(start)
        for name, (address, unless) in summary.needs.items():
            if name in met or unless & answers or not tiers >> tier(name) & 1:
                continue
            if (root := _open(functions, way, name)) is not None:
                met[name] = address, root
        for call in summary.calls:
            further = call.target, call.told(answers) if answers else call.answers
            still = tiers & call.tiers & ~(1 << MORE if call.unless & FLAG else 0)
            if call.unless & answers or call.target < 0 or not still & ~seen.get(further, 0):
                continue
            if (call.unless & FLAG or told) and ((told and call.unless) or is_named(call.target)):
                continue
            seen[further] = still | seen.get(further, 0)
            if links.number(call.target) is not None:
                queue.append((*further, still, (call, way)))
    functions.left = left
    return met


def sample(file: Binary, root: Callable[[int], By | None]) -> list[int]:
    """Some of the functions that a library exports, spread over all, but for those of a name."""
    every = sorted(file.exports) if file.kind == "library" else []
    some = every[:: max(1, len(every) // _EXPORTS)][:_EXPORTS]
    return [each for each in some if root(each) == "export"]


def descend_exports(
    functions: Functions, links: Links, exports: Iterable[int], is_named: Callable[[int], bool]
) -> dict[str, tuple[int, int]]:
    """The features to which several exported functions come by calls alone, as descend has them.

    One that holds any itself does not count: it may be what the library chooses.
    """
    found = defaultdict[str, list[tuple[int, int]]](list)
    for start in exports:
        if not functions.summary(start).needs:
            ways = descend(functions, links, [start], is_named, lib.ARGUMENTS, _OF_EACH)
            for name, way in ways.items():
                found[name].append(way)
    return {name: ways[0] for name, ways in found.items() if len(ways) >= _SEVERAL}


def _open(functions: Functions, way: _Way, feature: str) -> int | None:
    """The root of a way that leads to a feature with the numbers that are handed on along it."""
    calls = list[Call]()
    while not isinstance(way[0], int):
        calls.append(way[0])
        way = way[1]
    start, numbers = way[0], 0
    for call in reversed(calls):
        summary = functions.handed(start, numbers)
        same = (
            each for each in summary.calls if each.site == call.site and each.tiers & call.tiers
        )
        if (found := next(same, None)) is None:
            return None
        start, numbers = call.target, found.numbers
    return way[0] if feature in functions.handed(start, numbers).needs else None
