"""What each flag is worth: one function under many setups, measured in turn.

Each setup has a child process of its own, which compiles once and then waits. A round measures all
setups one after the other, in an order that rotates, so that a change of clock or load meets all of
them; a ratio compares two times of the same round (bench_rows). Setups that compile to the same
machine code are measured once: what differs between them would be noise. Times are those of the
child's thread, so that what else runs on the machine is not counted.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cpuprobe.errors import CannotMeasureError, CaptureError, CpuprobeError, UsageError
from cpuprobe.wasm.bench_child import Child
from cpuprobe.wasm.bench_rows import Worth, differs, quartiles, steps
from cpuprobe.wasm.blame import dependents
from cpuprobe.wasm.request import Request
from cpuprobe.wasm.setup import PULLEY, Setup

BUNDLED = {"simd": ("64",), "integer": ("200000",), "float": ("48",)}
"""The modules that come with cpuprobe, each with the argument for its function `run`."""

_BATCH = 0.02
"""Seconds that one measurement should take: far above the timer's and the call's own cost."""
_LEAST, _MOST = 7, 41


class Row(msgspec.Struct, frozen=True):
    """One setup.

    Attributes:
        name: what it is.
        flags: that are on; None for Pulley.
        same_code_as: the setup that compiles to the same code, whose numbers these are.
        seconds: median time of a call; None if it did not run.
        ratio: median over the rounds of its time divided by the safe set's: over 1 is slower.
        low: lower quartile of that.
        high: upper quartile.
        failed: why it did not run.
        differs: whether its time differs from the safe set's; None: too noisy to say.
    """

    name: str
    flags: tuple[str, ...] | None
    same_code_as: str | None = None
    seconds: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    failed: str | None = None
    differs: bool | None = None


class Measured(msgspec.Struct, frozen=True):
    """What a series of rounds gave.

    Attributes:
        rows: one a setup; the first is the safe set.
        rounds: how many it took.
        worth: what each step up from the baseline is worth.
    """

    rows: tuple[Row, ...]
    rounds: int
    worth: tuple[Worth, ...]


class Table(msgspec.Struct, frozen=True):
    """One module's rows; the first is the safe set."""

    module: str
    invoke: str
    args: tuple[str, ...]
    rows: tuple[Row, ...]
    rounds: int
    worth: tuple[Worth, ...]


def bundled_module(name: str) -> bytes:
    """The text of a bundled module."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "modules")
    with open(os.path.join(folder, f"{name}.wat"), "rb") as file:
        return file.read()


def single_flags(safe: Setup) -> list[tuple[str, Setup]]:
    """The safe set without each of its flags, and without what builds on that."""
    return [
        (f"without {flag}", safe.without((flag, *dependents(flag, safe.on)))) for flag in safe.on
    ]


@dataclass(slots=True)
class _Runner:
    child: Child
    calls: int = 1
    failed: str | None = None


def measure(
    request: Request,
    setups: Sequence[tuple[str, Setup]],
    rounds: int | None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Measured:
    """Measures one function under setups.

    Args:
        request: the module, the function and its arguments.
        setups: with their names; the first is what the others are compared with.
        rounds: how often each is measured; None: until every row differs or does not, at least
            `_LEAST` times and at most `_MOST`.
        progress: told how many measurements of how many are done.

    Raises:
        CaptureError: the module cannot be compiled or linked.
        UsageError: no such function, or wrong arguments.
        CannotMeasureError: wasmtime is missing, or the function does not even end under the
            first setup.
    """
    runners: dict[str, _Runner] = {}
    same: dict[str, str] = {}
    failed: dict[str, str] = {}
    by_code: dict[tuple[str, str], str] = {}
    try:
        for name, setup in setups:
            child = Child(request._replace(target=setup.target, flags=setup.flags))
            runner = runners[name] = _Runner(child)
            said = child.answer()
            if "failed" in said:
                _reject(said, first=not by_code)
                failed[name] = said["failed"]
            else:
                twin = by_code.setdefault((setup.target, said["code"]), name)
                if twin == name:
                    said = _calibrate(runner)
                    if "failed" in said:
                        _reject(said, first=len(by_code) == 1)
                        failed[name] = said["failed"]
                    continue
                same[name] = twin
            runners.pop(name).child.close()
        live = [name for name in runners if name not in failed]
        times = _rounds(runners, live, failed, rounds, progress)
    finally:
        for runner in runners.values():
            runner.child.close()
    first = setups[0][0]
    if first in failed:
        raise CannotMeasureError(f"{first}: {failed[first]}")
    base = times[first]
    rows = tuple(_row(name, setup, same, failed, times, base) for name, setup in setups)
    whole = {name: values for name, values in times.items() if name not in failed}
    return Measured(rows, len(base), steps(whole, same))


def _reject(said: dict[str, Any], first: bool) -> None:
    """Raises what is no matter of the setup; under the first one, anything."""
    kinds: dict[str, type[CpuprobeError]] = {
        "module": CaptureError,
        "usage": UsageError,
        "missing": CannotMeasureError,
    }
    kind = said.get("kind", "")
    if kind in kinds:
        raise kinds[kind](said["failed"])
    if first:
        raise CannotMeasureError(f"the function did not run: {said['failed']}")


def _calibrate(runner: _Runner) -> dict[str, Any]:
    """Finds how many calls make a batch long enough; the first one warms up."""
    said = runner.child.ask(1)
    while "failed" not in said and said["seconds"] < _BATCH and runner.calls < 1 << 24:
        missing = _BATCH / max(said["seconds"], _BATCH / 100)
        runner.calls = max(runner.calls + 1, int(runner.calls * missing * 1.05) + 1)
        said = runner.child.ask(runner.calls)
    return said


def _rounds(
    runners: dict[str, _Runner],
    live: list[str],
    failed: dict[str, str],
    rounds: int | None,
    progress: Callable[[int, int], None],
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in live}
    most = rounds or _MOST
    for number in range(most):
        shift = number % max(len(live), 1)
        for place, name in enumerate(live[shift:] + live[:shift]):
            if name not in failed:
                said = runners[name].child.ask(runners[name].calls)
                if "failed" in said:
                    failed[name] = said["failed"]
                else:
                    times[name].append(said["seconds"] / runners[name].calls)
            progress(number * len(live) + place + 1, most * len(live))
        if rounds is None and number + 1 >= _LEAST and _decided(times, failed):
            break
    return times


def _decided(times: dict[str, list[float]], failed: dict[str, str]) -> bool:
    """Whether of every row it can be said that it differs from the first, or that it does not."""
    base = next(iter(times.values()))
    return all(
        differs([mine / theirs for mine, theirs in zip(values, base, strict=True)]) is not None
        for name, values in times.items()
        if name not in failed
    )


def _row(
    name: str,
    setup: Setup,
    same: dict[str, str],
    failed: dict[str, str],
    times: dict[str, list[float]],
    base: list[float],
) -> Row:
    flags = None if setup.target == PULLEY else setup.on
    twin = same.get(name)
    source = twin or name
    if source in failed:
        return Row(name, flags, twin, failed=failed[source])
    ratios = [mine / theirs for mine, theirs in zip(times[source], base, strict=True)]
    low, middle, high = quartiles(ratios)
    seconds = statistics.median(times[source])
    return Row(name, flags, twin, seconds, middle, low, high, differs=differs(ratios))
