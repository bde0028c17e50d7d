"""What the installed archspec, a library of others, knows of a profile's microarchitecture."""

from __future__ import annotations

from typing import Any

import msgspec

from cpuprobe.facts.profile_rows import Profile


class Archspec(msgspec.Struct, frozen=True):
    """What archspec knows of a microarchitecture.

    Attributes:
        library: its name and version.
        name: its name for the microarchitecture.
        vendor: as in CPUID, or `generic`.
        generation: its number among those of the vendor; 0 if archspec gives none.
        ancestors: what it builds on, the nearest first.
        options: compiler to the options for its newest releases.
    """

    library: str
    name: str
    vendor: str
    generation: int
    ancestors: tuple[str, ...]
    options: dict[str, str]


def archspec_facts(profile: Profile) -> Archspec | None:
    """What the installed archspec says of the profile's microarchitecture.

    None where the profile names none, archspec is not installed or does not know it.
    """
    if profile.archspec is None:
        return None
    try:
        from archspec.cpu import TARGETS
    except ImportError:
        return None
    from importlib.metadata import version

    target: Any = TARGETS.get(profile.archspec)
    if target is None:
        return None
    options = {}
    for compiler in ("gcc", "clang"):
        for entry in target.compilers.get(compiler, ()):
            # A range of releases without an end goes up to the newest.
            if str(entry["versions"]).endswith(":"):
                options[compiler] = entry["flags"].format(name=entry.get("name", target.name))
    return Archspec(
        library=f"archspec {version('archspec')}",
        name=target.name,
        vendor=target.vendor,
        generation=target.generation,
        ancestors=tuple(each.name for each in target.ancestors),
        options=options,
    )
