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
from cpuprobe.emit.compilers_aarch64 import COMPILERS
from cpuprobe.emit.labels import LABELS
from cpuprobe.emit.preinit import guard
from cpuprobe.errors import UsageError

__all__ = ["FORMATS", "FlagSet", "choose", "choose_alone", "notes", "removable"]

_Writer = Callable[[FlagSet], str]


def _by_isa(dialect: str, of_x86: _Writer) -> _Writer:
    """The writer of a dialect of x86-64's, and of another instruction set's, if there is one."""

    def write(flags: FlagSet) -> str:
        if flags.isa == "x86-64":
            return of_x86(flags)
        if dialect not in COMPILERS:
            raise UsageError(
                f"--format {dialect} is for x86-64 only; of {flags.isa} there are "
                f"{', '.join((*wasmtime.FORMATS, *COMPILERS))}"
            )
        return COMPILERS[dialect](flags)

    return write


FORMATS: MappingProxyType[str, _Writer] = MappingProxyType(
    {
        **wasmtime.FORMATS,
        **{
            dialect: _by_isa(dialect, write)
            for dialect, write in {
                **runtimes.RUNTIMES,
                **builds.BUILDS,
                **guests.GUESTS,
                "guard": guard,
                **LABELS,
            }.items()
        },
    }
)


def notes(dialect: str, flags: FlagSet) -> tuple[str, ...]:
    """What has to be said besides the setting, a line each; nothing for wasmtime's own dialects."""
    if flags.isa != "x86-64":
        return ()
    if dialect in guests.GUESTS:
        return guests.recent(flags)
    if dialect == "march":
        return builds.recent(flags)
    return runtimes.notes(dialect, flags)
