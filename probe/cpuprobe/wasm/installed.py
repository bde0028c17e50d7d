"""What the installed wasmtime says of itself, beside what the model of it expects.

`introspect` asks; the words for both are in `report.installed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from cpuprobe.assessment.wasmtime import Flags


class Introspection(msgspec.Struct, frozen=True):
    """The installed wasmtime's answers; each was asked in a process of its own.

    Attributes:
        version: None if wasmtime is not installed, or does not tell.
        known: its x86 flags in its own order; None where nobody knows.
        inferred: which of them it turns on by itself on this host; None if it did not answer.
        pulley: whether Pulley, its interpreter, compiled and ran a module; None if it cannot be
            told.
        winch: the same of Winch, its baseline compiler.
        reasons: for each of `inferred`, `pulley` and `winch` that is None or false, why, on one
            line.
    """

    version: str | None
    known: tuple[str, ...] | None = None
    inferred: dict[str, bool] | None = None
    pulley: bool | None = None
    winch: bool | None = None
    reasons: Mapping[str, str] = {}


class Inference(msgspec.Struct, frozen=True):
    """Two answers to which flags wasmtime turns on by itself.

    Attributes:
        inferred: flag to what an artifact of the installed wasmtime says.
        unsafe: flags it turns on though they are not safe here (CP501, measured).
        differ: flags of which the model of `assessment.wasmtime` expects otherwise, on every CPU.
    """

    inferred: dict[str, bool]
    unsafe: tuple[str, ...]
    differ: tuple[str, ...]


def compare_inference(flags: Flags, inferred: dict[str, bool]) -> Inference:
    """Holds the answer of the installed wasmtime against the model of it.

    Args:
        flags: of this machine, for that wasmtime.
        inferred: the answer: `introspect.installed_flags`.
    """
    machine = flags.machine
    detected = [machine.isa.detected(group, machine) for group in machine.groups]
    differ = []
    for flag, value in inferred.items():
        feature = machine.table.by_cranelift.get(flag)
        # It asks the CPU it happens to run on, and infers none that it accepts on no host.
        expected = {
            feature is not None and flag not in flags.version.refuses and feature.name in each
            for each in detected
        }
        if value not in expected:
            differ.append(flag)
    unsafe = tuple(flag for flag, value in inferred.items() if value and not flags.values.get(flag))
    return Inference(inferred, unsafe, tuple(differ))
