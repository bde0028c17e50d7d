"""What to do when a program dies in code that wasmtime compiled: the decisions, without effects.

A run is an `Attempt`: a function that runs the program once under a `Setup` and tells how it ended.
`run_guarded` calls it as often as it takes: a death by SIGILL, SIGSEGV, SIGBUS or SIGTRAP costs the
flag that led to it, and where no flag is left to blame, Pulley (wasmtime's interpreter) runs the
program. A wasm trap is no death: wasmtime turns the signal into a result.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from cpuprobe.errors import CannotMeasureError
from cpuprobe.facts.features import load_features
from cpuprobe.wasm.blame import bisect, culprit, dependents
from cpuprobe.wasm.children import word_of
from cpuprobe.wasm.setup import PULLEY, Change, Setup

CRASHES = frozenset({signal.SIGILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGTRAP})

TRAP_EXIT = 134
"""The exit code of wasmtime's command line for a wasm trap (src/commands/run.rs)."""

_MUTATING = frozenset(
    [
        "fd_allocate",
        "fd_filestat_set_size",
        "fd_filestat_set_times",
        "path_create_directory",
        "path_filestat_set_times",
        "path_link",
        "path_open",  # it may create and truncate
        "path_remove_directory",
        "path_rename",
        "path_symlink",
        "path_unlink_file",
    ]
)
_WRITING = frozenset({"fd_write", "fd_pwrite", "sock_send"})
_READING = frozenset({"fd_read", "fd_pread", "poll_oneoff"})
EFFECTFUL = _MUTATING | _WRITING | _READING
"""The functions of WASI preview 1 (witx/wasi_snapshot_preview1.witx) that have side effects."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The instruction at which the process got the signal that killed it.

    Attributes:
        address: the instruction pointer.
        code: bytes from there on.
        where: the file that holds it, empty if it lies in memory of no file: compiled code.
    """

    address: int
    code: bytes
    where: str = ""


# done    the function returned, or the module has none to call
# exit    proc_exit, with `code`
# trap    a wasm trap, the program's own
# module  it cannot be compiled, linked or read; the input's fault
# usage   no such function, wrong arguments
# refused this wasmtime does not accept the setup
# signal  the process died by `signal`
Kind = Literal["done", "exit", "trap", "module", "usage", "refused", "signal"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How one run ended.

    Attributes:
        kind: see `Kind`.
        code: the program's exit code.
        message: wasmtime's words for a trap or an error.
        signal: what killed the process, 0 otherwise.
        fault: where, if that could be recorded.
        effects: what a second run would repeat or lack, in words; None: nothing.
    """

    kind: Kind
    code: int = 0
    message: str = ""
    signal: int = 0
    fault: Fault | None = None
    effects: str | None = None

    @property
    def crashed(self) -> bool:
        """Whether a missing instruction can be behind it."""
        return self.kind == "signal" and self.signal in CRASHES

    @property
    def exit_code(self) -> int:
        """As the wasmtime command gives it, or a shell for a death by signal."""
        codes = {"done": 0, "exit": self.code, "trap": TRAP_EXIT, "signal": 128 + self.signal}
        return codes.get(self.kind, 1)


# Runs the program once; the flag says that nothing it writes is to be seen.
Attempt = Callable[[Setup, bool], Ending]


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a guarded run.

    Attributes:
        ending: of the last run.
        setup: of the last run.
        changes: what was switched off on the way.
        fell_back: the program ran to its end, but not as it was first tried.
    """

    ending: Ending
    setup: Setup
    changes: tuple[Change, ...] = ()
    fell_back: bool = False

    @property
    def exit_code(self) -> int:
        """The program's own; 1 where that is 0 and the run fell back."""
        return self.ending.exit_code or int(self.fell_back)


def side_effects(
    imports: Iterable[str], *, dirs: bool, input_is_kept: bool, written: int | None
) -> str | None:
    """What a second run would repeat or lack.

    Args:
        imports: names of the WASI functions the module imports; without them it reaches nothing.
        dirs: whether it was given folders.
        input_is_kept: whether its standard input can be read again from where it began.
        written: bytes the process wrote while the program ran; None if not known.

    Returns:
        Words that follow "the program"; None if a second run is like the first.
    """
    names = frozenset(imports)
    found = []
    if names & _WRITING and written != 0:
        found.append("has written output" if written else "may have written output")
    if dirs and names & _MUTATING:
        found.append("may have changed files")
    if names & _READING and not input_is_kept:
        found.append("may have read its standard input")
    return " and ".join(found) or None


def run_guarded(
    attempt: Attempt,
    setup: Setup,
    *,
    tell: Callable[[str], None],
    retry: bool = False,
    unsafe: frozenset[str] = frozenset(),
) -> Result:
    """Runs a program until it ends by itself.

    Args:
        attempt: runs it once.
        setup: what to begin with.
        tell: takes one sentence at a time for the user.
        retry: run it again even if it had side effects.
        unsafe: features that are not safe on this machine.
    """
    changes: list[Change] = []
    first = setup
    while True:
        ending = attempt(setup, False)
        if not ending.crashed:
            fell_back = setup != first and ending.kind != "signal"
            if fell_back and ending.kind != "refused":
                how = "ended in a trap" if ending.kind == "trap" else "ran to its end"
                tell(f"it {how} with {describe(setup)}")
            return Result(ending, setup, tuple(changes), fell_back)
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
            flag = culprit(features, setup, unsafe)
        elif not instruction:
            tell("the instruction is not known: looking for the flag by bisection, output hidden")
            flag = _bisected(attempt, setup)
        if flag is None:
            tell("no flag is to blame: running it again on Pulley, wasmtime's interpreter")
            setup = Setup(PULLEY)
            continue
        gone = (flag, *dependents(flag, setup.on))
        row = load_features().by_cranelift.get(flag)
        needs = features or (() if row is None else (row.name,))
        changes.append(Change(gone, name, instruction, needs))
        feature = "" if row is None else f" ({row.name})"
        more = f", and with it {' '.join(gone[1:])}" if gone[1:] else ""
        tell(f"switched off {flag}{feature}{more}; running it again")
        setup = setup.without(gone)


def _bisected(attempt: Attempt, setup: Setup) -> str | None:
    return bisect(lambda tried: attempt(tried, True).crashed, setup)


def _instruction(fault: Fault | None) -> tuple[str, tuple[str, ...]]:
    """The instruction and what it needs beyond x86-64-v1; empty if it is not known."""
    if fault is None or not fault.code:
        return "", ()
    from cpuprobe.code.instructions import instructions

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
