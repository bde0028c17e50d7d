"""The curve and the best sets of flags, against brute force."""

from __future__ import annotations

import itertools
import random
import time

from tests.every import every

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


BITS = {name: 1 << at for at, name in enumerate(NAMES)}


def mask(names):
    return sum(BITS[name] for name in set(names))


def named(bits):
    return frozenset(name for name in NAMES if bits & BITS[name])


MASKS = {at: mask(NEEDS[name]) for at, name in enumerate(NAMES)}


def closed(names):
    return frozenset(name for name in names if NEEDS[name] <= frozenset(names))


def pattern(names, model="m", machines=1, weight=1):
    held = mask(closed(names))
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
    return sum(each.weight for each in fleet if frozenset(names) <= named(each.flags))


@every(range(150))
def test_best_sets_are_the_best(seed):
    """No down-closed set of the same size covers more weight, and none larger covers any."""
    fleet = random_fleet(seed)

    found = best_sets(fleet, MASKS)

    for k in range(len(NAMES) + 1):
        allowed = [
            set(each) for each in itertools.combinations(NAMES, k) if closed(each) == set(each)
        ]
        best = max((weight_of(fleet, each) for each in allowed), default=0)
        if k >= len(found):
            assert best == 0
            continue
        chosen = found[k]
        flags = named(chosen.flags)
        assert len(flags) == k
        assert closed(flags) == flags
        assert best == weight_of(fleet, flags) == chosen.weight
        assert chosen.machines == sum(each.machines for each in fleet if flags <= named(each.flags))


def naive_curve(fleet):
    """The rule of the curve, said again without any of its shortcuts."""
    everything = frozenset().union(*(named(each.safe) for each in fleet))
    alive = list(fleet)
    has = frozenset.intersection(*(named(each.safe) for each in alive))
    steps = [(sum(each.weight for each in alive), has)]
    while has != everything:
        options = []
        for place, name in enumerate(NAMES):
            if name in everything - has:
                left = [each for each in alive if name in named(each.safe)]
                common = (
                    frozenset.intersection(*(named(each.safe) for each in left))
                    if left
                    else everything
                )
                lost = sum(each.weight for each in alive) - sum(each.weight for each in left)
                options.append((lost, -len(common), place, common, left))
        _, _, _, has, alive = min(options, key=lambda option: option[:3])
        steps.append((sum(each.weight for each in alive), has))
    return steps


@every(range(150))
def test_the_curve_follows_its_rule(seed):
    """Each step loses least, then brings most, then comes first in the table."""
    fleet = random_fleet(seed)

    steps = []
    has = frozenset[str]()
    for cut in curve(fleet, MASKS):
        assert not has & named(cut.added)
        has |= named(cut.added)
        steps.append((cut.weight, has))
        assert cut.machines == sum(each.machines for each in fleet if has <= named(each.safe))

    assert steps == naive_curve(fleet)


def test_losers_are_the_heaviest_models_lost():
    """By weight, then by name; at most five."""
    fleet = [pattern("a", model="kept", weight=100)]
    fleet += [pattern("", model=f"lost{at}", weight=at // 2 + 1) for at in range(7)]

    steps = list(curve(fleet, MASKS))

    assert steps[1].losers == ("lost6", "lost4", "lost5", "lost2", "lost3")
    assert (steps[1].lost_machines, steps[1].lost_weight) == (7, 1 + 1 + 2 + 2 + 3 + 3 + 4)


def test_no_machines_no_curve():
    """An empty fleet has neither a curve nor sets."""
    assert list(curve([], MASKS)) == []
    assert best_sets([], MASKS) == []


def test_a_set_that_is_not_down_closed_counts_only_as_far_as_it_is():
    """Tables from elsewhere may claim c without b: c is not usable then."""
    odd = Pattern(mask("acd"), mask("acd"), "m", None, 1, 1)

    assert [named(cut.added) for cut in curve([odd], MASKS)] == [{"a", "d"}]
    assert named(best_sets([odd], MASKS)[-1].flags) == {"a", "d"}


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
    bits = {flag: 1 << at for at, flag in enumerate(flags)}
    masks = {at: sum(bits[other] for other in needs[flag]) for at, flag in enumerate(flags)}
    fleet = [
        Pattern(
            sum(map(bits.__getitem__, each)),
            sum(map(bits.__getitem__, each)),
            "m",
            None,
            1,
            chance.randrange(1, 10**9),
        )
        for each in sorted(every, key=sorted)
    ]

    start = time.process_time()
    found = best_sets(fleet, masks)

    assert time.process_time() - start < 10
    assert len(found) == len(flags) + 1
