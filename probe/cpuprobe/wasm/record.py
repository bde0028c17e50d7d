"""The file that keeps what worked, and how it was found. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cpuprobe.errors import CaptureError
from cpuprobe.wasm.setup import PULLEY, Setup

_SCHEMA = "cpuprobe.run/1"


class Change(msgspec.Struct, frozen=True):
    """One flag that was switched off, and why.

    Attributes:
        flags: the culprit first, then what builds on it.
        signal: how the program died, e.g. SIGILL.
        instruction: where it died, in Intel syntax; empty if found by bisection.
        features: what that instruction, or the flag, needs.
    """

    flags: tuple[str, ...]
    signal: str
    instruction: str = ""
    features: tuple[str, ...] = ()


class Record(msgspec.Struct, frozen=True):
    """The file that `--record` keeps: the setup that worked."""

    wasmtime: str
    target: str
    flags: dict[str, bool]
    changes: tuple[Change, ...] = ()
    schema: str = _SCHEMA


def to_record(
    setup: Setup, changes: Sequence[Change], wasmtime: str, earlier: Record | None
) -> bytes:
    """The record of a run that ended under a setup, with what an earlier one had switched off."""
    record = Record(
        wasmtime=wasmtime,
        target=setup.target,
        flags=dict(setup.flags),
        changes=(*(() if earlier is None else earlier.changes), *changes),
    )
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def read_record(content: bytes, name: str) -> Record:
    """Reads a record.

    Raises:
        CaptureError: it is not a record.
    """
    try:
        record = msgspec.json.decode(content, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise CaptureError(f"{name}: not a record of `cpuprobe run --record`") from None
    if record.schema != _SCHEMA:
        raise CaptureError(f"{name}: not a record of `cpuprobe run --record`")
    return record


def start_from(setup: Setup, record: Record) -> Setup:
    """The setup to begin with: what the record kept, and never a flag that is off in `setup`."""
    if record.target == PULLEY:
        return Setup(PULLEY)
    return setup.without(flag for flag, value in record.flags.items() if not value)
