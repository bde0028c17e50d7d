"""What the options of `cpuprobe fleet` ask to be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cpuprobe.facts.profiles import Profile
    from cpuprobe.fleet.model import Fleet


def profiles_of(names: Sequence[str]) -> tuple[dict[str, Profile], tuple[Profile, ...]]:
    """The profiles asked for by name; and with them all that ask for something.

    Raises UsageError: one is unknown, or only forbids.
    """
    from cpuprobe.errors import UsageError
    from cpuprobe.facts.profiles import find_profile, load_profiles

    named = {profile.name: profile for profile in map(find_profile, names)}
    for name, profile in named.items():
        if profile.mask:
            raise UsageError(f"--profile {name}: it only forbids, so that every machine meets it")
    known = {**load_profiles(isa=None), **named}.values()
    asked = tuple(each for each in known if each.kind != "level" and not each.mask)
    return named, asked


def refuse_foreign(named: Mapping[str, Profile], found: Fleet) -> None:
    """Raises UsageError where a profile is of an instruction set of which no share is told."""
    from cpuprobe.errors import UsageError

    told = ("x86-64", *found.others)
    for name, profile in named.items():
        if profile.isa not in told:
            shares = " and ".join(told)
            raise UsageError(
                f"--profile {name}: the shares are of {shares}, it is of {profile.isa}"
            )


def flag_set(text: str) -> tuple[str, ...]:
    """The flags of a list with commas, each once. Raises UsageError where there are none."""
    from cpuprobe.errors import UsageError

    flags = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not flags:
        raise UsageError("--flags: name at least one, as in has_avx2,has_fma")
    return flags


def percentages(text: str) -> list[Decimal]:
    """Percentages with commas, as shares from 0 to 1. Raises UsageError for anything else."""
    from cpuprobe.errors import UsageError

    try:
        shares = [Decimal(word.strip().removesuffix("%")) / 100 for word in text.split(",")]
        if all(0 < share <= 1 for share in shares):
            return shares
    except InvalidOperation:
        pass
    raise UsageError(f"--coverage {text[:60]}: percentages above 0 and up to 100, as in 99.9,99,95")
