"""The curve and the best sets of flags, against brute force."""

from __future__ import annotations

import itertools
import random
import time

import pytest

from cpuprobe.facts.features import load_features
from cpuprobe.fleet.selection import Pattern, best_sets, curve

# A small table: c needs b, b needs a; e needs d; f stands alone.
NAMES = ("a", "b", "c", "d", "e", "f")
NEEDS = {
    "a": frozenset(),
    "b": frozenset("a"),
    "c": frozenset("ab"),
    "d": frozenset(),
    "e": frozenset("d"),
    "f": frozenset(),
}


def closed(names):
    return frozenset(name for name in names if NEEDS[name] <= frozenset(names))


def pattern(names, model="m", machines=1, weight=1):
    held = closed(names)
    return Pattern(held, held, model, None, machines, weight)


def random_fleet(seed):
    chance = random.Random(seed)
    return [
        pattern(
            [name for name in NAMES if chance.random() < 0.7],
            model=f"m{chance.randrange(3)}",
            machines=chance.randrange(1, 4),
            weight=chance.choice((1, 2, 5, 1_000_000, 333_333)),
        )
        for _ in range(chance.randrange(1, 12))
    ]


def weight_of(fleet, names):
    return sum(each.weight for each in fleet if frozenset(names) <= each.flags)


@pytest.mark.parametrize("seed", range(150))
def test_best_sets_are_the_best(seed):
    """No down-closed set of the same size covers more weight, and none larger covers any."""
    fleet = random_fleet(seed)

    found = best_sets(fleet, NAMES, NEEDS)

    for k in range(len(NAMES) + 1):
        allowed = [
            set(each) for each in itertools.combinations(NAMES, k) if closed(each) == set(each)
        ]
        best = max((weight_of(fleet, each) for each in allowed), default=0)
        if k >= len(found):
            assert best == 0
            continue
        chosen = found[k]
        assert len(chosen.flags) == k
        assert closed(chosen.flags) == set(chosen.flags)
        assert best == weight_of(fleet, chosen.flags) == chosen.weight
        assert chosen.machines == sum(
            each.machines for each in fleet if set(chosen.flags) <= each.flags
        )


def test_flags_are_shown_in_the_order_given():
    """The order of wasmtime, whatever the search did."""
    found = best_sets([pattern("abcdef")], tuple(reversed(NAMES)), NEEDS)

    assert found[-1].flags == ("f", "e", "d", "c", "b", "a")


def naive_curve(fleet):
    """The rule of the curve, said again without any of its shortcuts."""
    everything = frozenset().union(*(each.safe for each in fleet))
    alive = list(fleet)
    has = frozenset.intersection(*(each.safe for each in alive))
    steps = [(sum(each.weight for each in alive), has)]
    while has != everything:
        options = []
        for place, name in enumerate(NAMES):
            if name in everything - has:
                left = [each for each in alive if name in each.safe]
                common = (
                    frozenset.intersection(*(each.safe for each in left)) if left else everything
                )
                lost = sum(each.weight for each in alive) - sum(each.weight for each in left)
                options.append((lost, -len(common), place, common, left))
        _, _, _, has, alive = min(options, key=lambda option: option[:3])
        steps.append((sum(each.weight for each in alive), has))
    return steps


@pytest.mark.parametrize("seed", range(150))
def test_the_curve_follows_its_rule(seed):
    """Each step loses least, then brings most, then comes first in the table."""
    fleet = random_fleet(seed)

    steps = []
    has = frozenset[str]()
    for cut in curve(fleet, NAMES, NEEDS):
        assert not has & set(cut.added)
        has |= set(cut.added)
        steps.append((cut.weight, has))
        assert cut.machines == sum(each.machines for each in fleet if has <= each.safe)

    assert steps == naive_curve(fleet)


def test_losers_are_the_heaviest_models_lost():
    """By weight, then by name; at most five."""
    fleet = [pattern("a", model="kept", weight=100)]
    fleet += [pattern("", model=f"lost{at}", weight=at // 2 + 1) for at in range(7)]

    steps = list(curve(fleet, NAMES, NEEDS))

    assert steps[1].losers == ("lost6", "lost4", "lost5", "lost2", "lost3")
    assert (steps[1].lost_machines, steps[1].lost_weight) == (7, 1 + 1 + 2 + 2 + 3 + 3 + 4)


def test_no_machines_no_curve():
    """An empty fleet has neither a curve nor sets."""
    assert list(curve([], NAMES, NEEDS)) == []
    assert best_sets([], NAMES, NEEDS) == []


def test_a_set_that_is_not_down_closed_counts_only_as_far_as_it_is():
    """Tables from elsewhere may claim c without b: c is not usable then."""
    odd = Pattern(frozenset("acd"), frozenset("acd"), "m", None, 1, 1)

    assert [cut.added for cut in curve([odd], NAMES, NEEDS)] == [("a", "d")]
    assert best_sets([odd], NAMES, NEEDS)[-1].flags == ("a", "d")


def test_thousands_of_patterns_take_seconds():
    """All down-closed sets of 20 flags as patterns: no fleet can be harder."""
    table = load_features()
    flags = list(table.by_cranelift)
    needs = {
        flag: frozenset(
            other
            for other in flags
            if table.by_cranelift[other].name in table.closure(table.by_cranelift[flag].name)
        )
        for flag in flags
    }
    chance = random.Random(1)
    every = {frozenset[str]()}
    for flag in sorted(flags, key=lambda flag: len(needs[flag])):
        every |= {each | {flag} for each in every if needs[flag] <= each}
    assert len(every) > 4000  # all down-closed sets there are: no fleet can be worse
    fleet = [
        Pattern(each, each, "m", None, 1, chance.randrange(1, 10**9))
        for each in sorted(every, key=sorted)
    ]

    start = time.process_time()
    found = best_sets(fleet, flags, needs)

    assert time.process_time() - start < 10
    assert len(found) == len(flags) + 1
