"""The way out for a program that died in code that wasmtime compiled; decisions, without effects.

A death costs the flag that led to it, and where no flag is left to blame, Pulley (wasmtime's
interpreter) runs the program. What is known of features and instructions is read only here: nearly
every program lives.
"""

from __future__ import annotations

from collections.abc import Callable, Set

from cpuprobe.code.instructions import instructions
from cpuprobe.errors import CannotMeasureError
from cpuprobe.facts.features import load_features
from cpuprobe.wasm.blame import bisect, culprit, dependents
from cpuprobe.wasm.children import word_of
from cpuprobe.wasm.ending import Attempt, Ending, Fault, Result
from cpuprobe.wasm.record import Change
from cpuprobe.wasm.setup import PULLEY, Setup


def rescued(
    attempt: Attempt,
    setup: Setup,
    ending: Ending,
    *,
    tell: Callable[[str], None],
    retry: bool,
    unsafe: Callable[[], Set[str]],
) -> Result:
    """Runs a program again until it ends by itself.

    Args:
        attempt: as of `run_guarded`.
        setup: under which it has died.
        ending: how.
        tell: as of `run_guarded`.
        retry: as of `run_guarded`.
        unsafe: as of `run_guarded`.
    """
    changes: list[Change] = []
    while ending.crashed:
        name = word_of(ending.signal)
        instruction, features = _instruction(ending.fault)
        tell(_death(name, ending.fault, instruction, features))
        outside = ending.fault is not None and ending.fault.where != ""
        if outside or setup.target == PULLEY:
            tell("no flag of wasmtime can help: that is not code that it compiled")
            return Result(ending, setup, tuple(changes))
        if ending.effects is not None and not retry:
            tell(
                f"the program {ending.effects}: it is not run again unasked; --retry does, "
                "or give the flags that work by --record FILE"
            )
            return Result(ending, setup, tuple(changes))
        if ending.effects is not None:
            tell(f"the program {ending.effects}: --retry runs it again all the same")
        flag: str | None = None
        if features:
            flag = culprit(features, setup, unsafe())
        elif not instruction:
            tell("the instruction is not known: looking for the flag by bisection, output hidden")
            flag = _bisected(attempt, setup)
        if flag is None:
            tell("no flag is to blame: running it again on Pulley, wasmtime's interpreter")
            setup = Setup(PULLEY)
        else:
            changes.append(_change(flag, setup, name, instruction, features))
            tell(f"switched off {_told(changes[-1])}; running it again")
            setup = setup.without(changes[-1].flags)
        ending = attempt(setup, False)
    fell_back = ending.kind != "signal"
    if fell_back and ending.kind != "refused":
        how = "ended in a trap" if ending.kind == "trap" else "ran to its end"
        tell(f"it {how} with {describe(setup)}")
    return Result(ending, setup, tuple(changes), fell_back)


def _change(
    flag: str, setup: Setup, signal: str, instruction: str, features: tuple[str, ...]
) -> Change:
    row = load_features().by_cranelift.get(flag)
    needs = features or (() if row is None else (row.name,))
    return Change((flag, *dependents(flag, setup.on)), signal, instruction, needs)


def _told(change: Change) -> str:
    flag, *above = change.flags
    row = load_features().by_cranelift.get(flag)
    feature = "" if row is None else f" ({row.name})"
    return f"{flag}{feature}" + (f", and with it {' '.join(above)}" if above else "")


def _bisected(attempt: Attempt, setup: Setup) -> str | None:
    return bisect(lambda tried: attempt(tried, True).crashed, setup)


def _instruction(fault: Fault | None) -> tuple[str, tuple[str, ...]]:
    """The instruction and what it needs beyond x86-64-v1; empty if it is not known."""
    if fault is None or not fault.code:
        return "", ()
    try:
        decoded = instructions(fault.code)[0].decoded
    except CannotMeasureError:  # No decoder: bisection does without.
        return "", ()
    return decoded.intel, decoded.features if decoded.kind == "feature" else ()


def _death(name: str, fault: Fault | None, instruction: str, features: tuple[str, ...]) -> str:
    if fault is None:
        return f"the program died by {name}"
    place = f"in {fault.where}" if fault.where else "in compiled code"
    what = f" at `{instruction}`" if instruction else ""
    needs = f", which needs {' and '.join(features)}" if features else ""
    return f"the program died by {name} {place}{what}{needs}"


def describe(setup: Setup) -> str:
    """A setup in words."""
    if setup.target == PULLEY:
        return "Pulley, wasmtime's interpreter"
    off = " ".join(flag for flag, value in setup.flags.items() if not value)
    return f"{' '.join(setup.on) or 'no flag'}" + (f"; off: {off}" if off else "")
