"""A fleet of several instruction sets: its shares, and each of its parts as a fleet. Pure."""

from __future__ import annotations

import msgspec

from cpuprobe.fleet.model import Fleet, Unknown
from cpuprobe.report.fleet_words import machines, percent

_FIRST = "x86-64"


def parts_of(fleet: Fleet) -> dict[str, Fleet]:
    """What is told of each instruction set of which there are machines, most weight first."""
    every = {_FIRST: msgspec.structs.replace(fleet, isas=msgspec.UNSET), **fleet.others}
    held = {name: each for name, each in every.items() if each.total.machines}
    return dict(sorted(held.items(), key=lambda part: -part[1].total.weight))


def shares_line(fleet: Fleet) -> str:
    """The share of each: `aarch64 3 of 4 machines (75 %), x86-64 1 (25 %)`."""
    parts = parts_of(fleet)
    count = sum(each.total.machines for each in parts.values())
    weight = sum(each.total.weight for each in parts.values())
    told: list[str] = []
    for name, each in parts.items():
        whole = "" if told else f" of {machines(count)}"
        alone = each.total.machines == count
        share = each.total.weight / weight if weight else float(alone)
        part = percent(share, nobody=False, everybody=alone)
        told.append(f"{name} {each.total.machines:,}{whole} ({part})")
    return ", ".join(told)


def sections(fleet: Fleet) -> dict[str, Fleet]:
    """The parts as they are told one after the other.

    What no share counts is told before them, and what could not be read with the last.
    """
    parts = {
        name: msgspec.structs.replace(each, unknown=(), skipped=(), unread=0)
        for name, each in parts_of(fleet).items()
    }
    last = next(reversed(parts))
    parts[last] = msgspec.structs.replace(
        parts[last],
        skipped=fleet.skipped,
        unread=fleet.unread,
        unread_kinds=fleet.unread_kinds,
    )
    return parts


def x86_64_alone(fleet: Fleet) -> Fleet:
    """The fleet for a page of x86-64: the machines of others are among those it does not count."""
    apart = (
        Unknown("isa", name, each.total.machines, each.mismatched.machines)
        for name, each in fleet.others.items()
    )
    return msgspec.structs.replace(fleet, isas=msgspec.UNSET, unknown=(*fleet.unknown, *apart))
