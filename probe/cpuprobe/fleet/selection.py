"""Which sets to choose: the curve of coverage, and the best set of k flags. Pure.

All of it works on what the fleet comes down to: a few thousand distinct sets of safe features and
of flags, each with the weight of the machines that have it. A set is a mask: a bit for each name,
in the order of the table or of wasmtime, lowest first. Weights are whole numbers (of millionths),
so that sums are exact and their order cannot matter.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

LOSERS = 5
"""How many CPU models a step of the curve names."""


class Pattern(NamedTuple):
    """Machines that are alike in all that matters to coverage.

    Attributes:
        safe: the features that are safe on them.
        flags: Cranelift's flags that are safe on them.
        model: their CPU model.
        level: their psABI level of what is safe, None below x86-64-v1.
        machines: how many.
        weight: their weights added up, in millionths.
    """

    safe: int
    flags: int
    model: str
    level: str | None
    machines: int
    weight: int


class Cut(NamedTuple):
    """One step of the curve: what it adds, who is left, who is lost and of which models."""

    added: int
    machines: int
    weight: int
    lost_machines: int
    lost_weight: int
    losers: tuple[str, ...]


class Best(NamedTuple):
    """A set of k flags and the machines on which all of them are safe."""

    flags: int
    machines: int
    weight: int


class _Class(NamedTuple):
    """Patterns with the same set."""

    mask: int
    machines: int
    weight: int
    models: Counter[str]


def _classes(sets: Iterable[tuple[int, Pattern]], needs: Mapping[int, int]) -> list[_Class]:
    """The distinct sets, each without the bits whose needs it does not hold, in a fixed order."""
    machines: Counter[int] = Counter()
    weights: Counter[int] = Counter()
    models: dict[int, Counter[str]] = {}
    closed: dict[int, int] = {}
    for held, pattern in sets:
        if held not in closed:
            closed[held] = sum(
                1 << at for at, need in needs.items() if held >> at & 1 and need & held == need
            )
        mask = closed[held]
        machines[mask] += pattern.machines
        weights[mask] += pattern.weight
        models.setdefault(mask, Counter())[pattern.model] += pattern.weight
    return [_Class(mask, machines[mask], weights[mask], models[mask]) for mask in sorted(machines)]


def _common(classes: Iterable[_Class]) -> int:
    """What all of them have; -1, all bits, for none."""
    common = -1
    for each in classes:
        common &= each.mask
    return common


def _heaviest(classes: Iterable[_Class]) -> tuple[str, ...]:
    models: Counter[str] = Counter()
    for each in classes:
        models.update(each.models)
    ranked = sorted(models.items(), key=lambda item: (-item[1], item[0]))
    return tuple(model for model, _ in ranked[:LOSERS])


def curve(patterns: Iterable[Pattern], needs: Mapping[int, int]) -> Iterator[Cut]:
    """From what every machine has to all that some machine has, losing least at each step.

    Each step adds the feature that loses the least weight, all that it implies, and whatever else
    the machines that are left all have. Of several that lose the same the one that brings most
    features is taken, then the first in the table. The last step may leave no machine: it adds all
    the rest at once.

    Args:
        patterns: the fleet.
        needs: the features to choose from, by their bit: what each implies, transitively.
    """
    alive = _classes(((each.safe, each) for each in patterns), needs)
    if not alive:
        return
    wanted = 0
    for each in alive:
        wanted |= each.mask
    machines = sum(each.machines for each in alive)
    weight = sum(each.weight for each in alive)
    has = _common(alive)
    yield Cut(has, machines, weight, 0, 0, ())
    no_one: list[_Class] = []
    lacking = Counter[int]()
    for each in alive:
        _add(lacking, ~each.mask & wanted, each.weight)
    while left := wanted & ~has:
        least = min(lacking[at] for at in positions(left))
        if least == weight:
            chosen, survivors = left, no_one
        else:
            chosen, survivors = _cheapest(
                alive, [a for a in positions(left) if lacking[a] == least]
            )
            chosen &= ~has
        lost = [each for each in alive if each.mask & chosen != chosen]
        for each in lost:
            _add(lacking, ~each.mask & wanted, -each.weight)
        lost_machines = sum(each.machines for each in lost)
        machines, weight = machines - lost_machines, weight - least
        has |= chosen
        yield Cut(chosen, machines, weight, lost_machines, least, _heaviest(lost))
        alive = survivors


def _cheapest(alive: list[_Class], tied: list[int]) -> tuple[int, list[_Class]]:
    """Of features that lose the same, what the one that brings most brings; and who is left."""
    best: tuple[int, list[_Class]] = 0, []
    for at in tied:
        if best[0] >> at & 1:
            continue  # it comes with an earlier one, and loses the same machines
        survivors = [each for each in alive if each.mask >> at & 1]
        brings = _common(survivors)
        if brings.bit_count() > best[0].bit_count():
            best = brings, survivors
    return best


def _add(sums: Counter[int], mask: int, weight: int) -> None:
    for at in positions(mask):
        sums[at] += weight


def positions(mask: int) -> Iterator[int]:
    """The positions of the bits that are set, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


# --- the best set of k flags ---


def best_sets(patterns: Iterable[Pattern], needs: Mapping[int, int]) -> list[Best]:
    """For each k from 0 on, the down-closed set of k flags that is safe on the most weight.

    Exact. The set of all flags that some machines have in common is down-closed, and every
    down-closed part of it covers at least those machines. So only such common sets need be looked
    at, each once (they are closed sets in the sense of Kuznetsov's Close-by-One), and a branch is
    cut where it cannot beat what is known for the largest set it may still reach.

    Args:
        patterns: the fleet.
        needs: the flags, by their bit: those that each cannot be without, transitively.

    Returns:
        One for each k up to the largest set that some machine has.
    """
    classes = _classes(((each.flags, each) for each in patterns), needs)
    if not classes:
        return []
    # In an order in which a flag stands after all that it needs, the first k flags of a
    # down-closed set are down-closed too.
    order = sorted(needs, key=lambda at: (needs[at].bit_count(), at))
    best = []
    for mask in _Search(classes, order).run():
        covering = [each for each in classes if each.mask & mask == mask]
        best.append(
            Best(
                mask,
                sum(each.machines for each in covering),
                sum(each.weight for each in covering),
            )
        )
    return best


class _Search:
    """The search for the heaviest cover of each size, over bitsets of classes."""

    def __init__(self, classes: list[_Class], order: Sequence[int]) -> None:
        """Lay the classes out: for each flag those that have it, for each bit of weight likewise.

        Args:
            classes: the distinct sets.
            order: the bits of the flags, each after all that it needs.
        """
        self.order = order
        unit = math.gcd(*(each.weight for each in classes)) or 1
        weights = [each.weight // unit for each in classes]
        self.everyone = (1 << len(classes)) - 1
        self.planes = [
            _bitset(weight >> plane & 1 for weight in weights)
            for plane in range(max(weights).bit_length())
        ]
        holders = {at: _bitset(each.mask >> at & 1 for each in classes) for at in order}
        # The most common first: the first descent then is a good one, and cuts the others off.
        self.items = sorted(
            (at for at in order if holders[at]),
            key=lambda at: -self.weigh(holders[at]),
        )
        self.holders = [holders[at] for at in self.items]
        top = max(each.mask.bit_count() for each in classes)
        self.weights = [-1] * (top + 1)
        self.sets = [0] * (top + 1)

    def weigh(self, cover: int) -> int:
        """The weight of a bitset of classes, in units."""
        return sum((cover & plane).bit_count() << at for at, plane in enumerate(self.planes))

    def closure(self, cover: int) -> int:
        """The items that all classes of a cover have, as a mask of positions in `items`."""
        return sum(1 << at for at, holders in enumerate(self.holders) if cover & holders == cover)

    def note(self, common: int, weight: int) -> None:
        """Offers a closed set to every size up to its own."""
        held = sorted((self.items[at] for at in positions(common)), key=self.order.index)
        mask = 0
        for size in range(len(held) + 1):
            if weight > self.weights[size]:
                self.weights[size], self.sets[size] = weight, mask
            if size < len(held):
                mask |= 1 << held[size]

    def run(self) -> list[int]:
        """The best mask of flags for each size from 0 on."""
        start = self.closure(self.everyone)
        self.note(start, self.weigh(self.everyone))
        self.descend(self.everyone, start, 0)
        return self.sets

    def descend(self, cover: int, common: int, first: int) -> None:
        """Looks at all closed sets that grow from `common` by items from `first` on."""
        children = []
        for at in range(first, len(self.items)):
            if common >> at & 1:
                continue
            smaller = cover & self.holders[at]
            if not smaller:
                continue
            weight = self.weigh(smaller)
            children.append((-weight, at, smaller))
        below = (1 << len(self.items)) - 1
        for negative, at, smaller in sorted(children):
            # What this branch may hold at most: nothing before `at` that is not there already.
            reach = (common | below & ~((1 << at) - 1)).bit_count()
            reach = min(reach, len(self.weights) - 1)
            if self.weights[reach] >= -negative:
                continue
            grown = self.closure(smaller)
            before = (1 << at) - 1
            if grown & before != common & before:
                continue  # found from another branch
            self.note(grown, -negative)
            self.descend(smaller, grown, at + 1)


def _bitset(bits: Iterable[int]) -> int:
    return int("".join(str(bit) for bit in reversed(list(bits))) or "0", 2)
