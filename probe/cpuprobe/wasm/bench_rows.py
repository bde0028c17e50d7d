"""What measured times amount to: which setups differ, and what each step up is worth. Pure.

A ratio compares two times of the same round. Two setups differ if the median of their ratios does,
by more than `SAME` and beyond what chance explains: the interval that holds the median in 95 of 100
repetitions, taken from the order of the ratios alone, so that it needs no bell curve.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import msgspec

SAME = 0.03
"""A smaller difference is nobody's reason to choose flags."""

LADDER = (
    ("x86-64-v2", "x86-64-v1", "x86-64-v2"),
    ("x86-64-v3", "x86-64-v2", "x86-64-v3"),
    ("the rest below AVX-512", "x86-64-v3", "without AVX-512"),
    ("AVX-512", "without AVX-512", "safe set"),
)
"""Steps from the baseline to the safe set: a name, the setup below, the setup above."""


class Worth(msgspec.Struct, frozen=True):
    """What a step is worth.

    Attributes:
        step: its name.
        ratio: time below divided by time above: over 1 the step pays. 1 where nothing differs.
        differs: whether that is more than noise; None: the rounds were too few or too noisy to say.
    """

    step: str
    ratio: float
    differs: bool | None


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile; of one value, that value."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The interval that holds the median with at least 95 %, from the binomial distribution.

    Of fewer than six values there is none: minus and plus infinity.
    """
    ordered, count = sorted(values), len(values)
    outside, rank = 0.0, 0
    while rank < count // 2:
        outside += math.comb(count, rank) / 2**count
        if 2 * outside > 0.05:
            break
        rank += 1
    if rank == 0:
        return -math.inf, math.inf
    return ordered[rank - 1], ordered[count - rank]


def differs(ratios: Sequence[float]) -> bool | None:
    """Whether times differ by more than `SAME`: yes, no, or None where these rounds cannot tell."""
    low, high = median_interval(ratios)
    if low > 1 + SAME or high < 1 - SAME:
        return True
    if low >= 1 - SAME and high <= 1 + SAME:
        return False
    return None


def steps(times: Mapping[str, Sequence[float]], twins: Mapping[str, str]) -> tuple[Worth, ...]:
    """What each step of the ladder is worth, of those that were measured.

    Args:
        times: seconds of each setup, a round each, the same rounds for all.
        twins: setups that compile to the same code as another, which has their times.
    """
    found = []
    for step, below, above in LADDER:
        low, high = twins.get(below, below), twins.get(above, above)
        if low == high:
            found.append(Worth(step, 1.0, False))
        elif times.get(low) and times.get(high):
            ratios = [a / b for a, b in zip(times[low], times[high], strict=False)]
            found.append(Worth(step, statistics.median(ratios), differs(ratios)))
    return tuple(found)
