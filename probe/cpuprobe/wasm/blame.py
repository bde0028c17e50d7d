"""Which flag to blame for a death: by the instruction, or by bisection. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set

from cpuprobe.facts.features import load_features
from cpuprobe.wasm.setup import Setup


def dependents(flag: str, flags: Iterable[str]) -> tuple[str, ...]:
    """The flags among `flags` that build on a flag."""
    table = load_features()
    feature = table.by_cranelift.get(flag)
    above = frozenset() if feature is None else table.dependents(feature.name)
    return tuple(
        each
        for each in flags
        if each != flag and each in table.by_cranelift and table.by_cranelift[each].name in above
    )


def base_first(flags: Iterable[str]) -> tuple[str, ...]:
    """The flags so ordered that each comes after all it builds on."""
    table = load_features()

    def depth(flag: str) -> tuple[int, str]:
        feature = table.by_cranelift.get(flag)
        return (0 if feature is None else len(table.closure(feature.name)), flag)

    return tuple(sorted(flags, key=depth))


def culprit(features: Iterable[str], setup: Setup, unsafe: Set[str]) -> str | None:
    """The flag to blame for an instruction.

    Of the flags that allow it, one that the assessment distrusts; otherwise the one on which the
    fewest others build, which costs least: if it was the wrong one, the next death names it again.
    The instruction's features are the ones named by iced-x86; what they imply is not blamed.

    Args:
        features: all that the instruction needs.
        setup: under which it ran.
        unsafe: features that are not safe on this machine.

    Returns:
        None if no flag that is on allows it.
    """
    table = load_features()
    flags = {table[name].cranelift: name for name in features if name in table}
    on = [flag for flag in setup.on if flag in flags]
    if not on:
        return None
    return min(on, key=lambda flag: (flags[flag] not in unsafe, len(dependents(flag, setup.on))))


def bisect(crashes: Callable[[Setup], bool], setup: Setup) -> str | None:
    """The flag without which a program that dies under `setup` lives.

    Sets are tried that are closed under "builds on", so that each is one a CPU could have: of n
    flags at most log2(n + 1), rounded up.

    Args:
        crashes: runs the program and tells whether it died.
        setup: under which it is known to die.

    Returns:
        None if it dies with every flag off: then no flag is to blame.
    """
    order = base_first(setup.on)
    lives, dies = -1, len(order)
    while dies - lives > 1:
        middle = (lives + dies) // 2
        if crashes(setup.without(order[middle:])):
            dies = middle
        else:
            lives = middle
    return order[dies - 1] if dies else None
