"""What is come to from where every run or load begins, followed downwards along calls.

Of a build for a newer CPU that is found within a few calls, where code.reach would go back from
thousands of functions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from cpuprobe.code.asking import Functions
from cpuprobe.code.links import Links
from cpuprobe.code.summary import FLAG
from cpuprobe.code.tiers import MORE, TOP, tier

STEPS = 20_000
"""Steps (ways.MOST_STEPS) that are made."""


def descend(
    functions: Functions, links: Links, roots: Iterable[int], is_named: Callable[[int], bool]
) -> dict[str, tuple[int, int]]:
    """The features that are come to: the address of the first instruction, and from which root.

    Args:
        functions: those of the file.
        links: of the file.
        roots: where every run or load begins.
        is_named: whether a function is named for CPUs.
    """
    met: dict[str, tuple[int, int]] = {}
    every = (1 << TOP + 1) - 1
    queue = deque((root, 0, every, root) for root in roots)
    seen = {(root, 0): every for root in roots}
    left, functions.left = functions.left, STEPS
    while queue and functions.left > 0:
        start, answers, tiers, root = queue.popleft()
        summary = functions.summary(start)
        for name, (address, unless) in summary.needs.items():
            if not unless & answers and tiers >> tier(name) & 1:
                met.setdefault(name, (address, root))
        for call in summary.calls:
            further = call.target, call.told(answers) if answers else call.answers
            still = tiers & call.tiers & ~(1 << MORE if call.unless & FLAG else 0)
            if call.unless & answers or call.target < 0 or not still & ~seen.get(further, 0):
                continue
            if call.unless & FLAG and is_named(call.target):
                continue
            seen[further] = still | seen.get(further, 0)
            if links.number(call.target) is not None:
                queue.append((*further, still, root))
    functions.left = left
    return met
