"""Assessment -> flags in the dialect of a runtime: pure.

`choose` makes the set of flags, `FORMATS` names the dialects. Those of wasmtime write an
allow-list: the target is pinned, so that wasmtime infers nothing, and every flag has an explicit
value. Only with `only_off` is the target left alone and wasmtime's inference lowered; it is never
raised. `runtimes` has the dialects of others, and `notes` is what has to be said beside a setting.
`labels` has those of fleets: what a machine has, written where schedulers and monitors look.
`guests` has CPU models of virtual machines, `builds` what builds are told, `preinit` the check that
a program makes before it starts, `key` the text that caches are named by.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from cpuprobe.emit import builds, guests, runtimes, wasmtime
from cpuprobe.emit.choose import FlagSet, choose, choose_alone, removable
from cpuprobe.emit.labels import LABELS
from cpuprobe.emit.preinit import guard

__all__ = ["FORMATS", "FlagSet", "choose", "choose_alone", "notes", "removable"]

FORMATS: MappingProxyType[str, Callable[[FlagSet], str]] = MappingProxyType(
    {
        **wasmtime.FORMATS,
        **runtimes.RUNTIMES,
        **builds.BUILDS,
        **guests.GUESTS,
        "guard": guard,
        **LABELS,
    }
)


def notes(dialect: str, flags: FlagSet) -> tuple[str, ...]:
    """What has to be said besides the setting, a line each; nothing for wasmtime's own dialects."""
    if dialect in guests.GUESTS:
        return guests.recent(flags)
    if dialect == "march":
        return builds.recent(flags)
    return runtimes.notes(dialect, flags)
