"""What to do when a program dies in code that wasmtime compiled: the decisions, without effects.

A run is an `Attempt`: a function that runs the program once under a `Setup` and tells how it ended.
`run_guarded` calls it as often as it takes: a death by SIGILL, SIGSEGV, SIGBUS or SIGTRAP costs the
flag that led to it, and where no flag is left to blame, Pulley (wasmtime's interpreter) runs the
program. A wasm trap is no death: wasmtime turns the signal into a result.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from cpuprobe.errors import CannotMeasureError, CaptureError
from cpuprobe.facts.features import load_features

PULLEY = "pulley64"
"""Target triple of wasmtime's portable interpreter; it takes no `has_*` flag."""

CRASHES = frozenset({signal.SIGILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGTRAP})

TRAP_EXIT = 134
"""The exit code of wasmtime's command line for a wasm trap (src/commands/run.rs)."""

_SCHEMA = "cpuprobe.run/1"
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
class Setup:
    """What the program is compiled for.

    Attributes:
        target: target triple.
        flags: every `has_*` flag with its value; empty for Pulley.
    """

    target: str
    flags: Mapping[str, bool] = field(default_factory=dict)

    @property
    def on(self) -> tuple[str, ...]:
        """The flags that are on."""
        return tuple(flag for flag, value in self.flags.items() if value)

    def without(self, flags: Iterable[str]) -> Setup:
        """The same with these flags off."""
        off = frozenset(flags)
        values = {flag: value and flag not in off for flag, value in self.flags.items()}
        return Setup(self.target, values)


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


def dependents(flag: str, flags: Iterable[str]) -> tuple[str, ...]:
    """The flags among `flags` that build on a flag."""
    table = load_features()
    feature = table.by_cranelift.get(flag)
    above = frozenset() if feature is None else table.dependents(feature.name)
    return tuple(
        each
        for each in flags
        if each != flag and each in table.by_cranelift and table.by_cranelift[each].name in above
    )


def base_first(flags: Iterable[str]) -> tuple[str, ...]:
    """The flags so ordered that each comes after all it builds on."""
    table = load_features()

    def depth(flag: str) -> tuple[int, str]:
        feature = table.by_cranelift.get(flag)
        return (0 if feature is None else len(table.closure(feature.name)), flag)

    return tuple(sorted(flags, key=depth))


def culprit(features: Iterable[str], setup: Setup, unsafe: frozenset[str]) -> str | None:
    """The flag to blame for an instruction.

    Of the flags that allow it, one that the assessment distrusts; otherwise the one on which the
    fewest others build, which costs least: if it was the wrong one, the next death names it again.
    The instruction's features are the ones named by iced-x86; what they imply is not blamed.

    Args:
        features: all that the instruction needs.
        setup: under which it ran.
        unsafe: features that are not safe on this machine.

    Returns:
        None if no flag that is on allows it.
    """
    table = load_features()
    flags = {table[name].cranelift: name for name in features if name in table}
    on = [flag for flag in setup.on if flag in flags]
    if not on:
        return None
    return min(on, key=lambda flag: (flags[flag] not in unsafe, len(dependents(flag, setup.on))))


def bisect(crashes: Callable[[Setup], bool], setup: Setup) -> str | None:
    """The flag without which a program that dies under `setup` lives.

    Sets are tried that are closed under "builds on", so that each is one a CPU could have.

    Args:
        crashes: runs the program and tells whether it died.
        setup: under which it is known to die.

    Returns:
        None if it dies with every flag off: then no flag is to blame.
    """
    order = base_first(setup.on)

    def first(count: int) -> Setup:
        return setup.without(order[count:])

    if not order or crashes(first(0)):
        return None
    lives, dies = 0, len(order)
    while dies - lives > 1:
        middle = (lives + dies) // 2
        if crashes(first(middle)):
            dies = middle
        else:
            lives = middle
    return order[dies - 1]


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
                tell(f"it ran to its end with {describe(setup)}")
            return Result(ending, setup, tuple(changes), fell_back)
        name = signal.Signals(ending.signal).name
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
        flag: str | None
        if features:
            flag = culprit(features, setup, unsafe)
        elif ending.fault is not None and instruction:
            flag = None
        else:
            tell("the instruction is not known: looking for the flag by bisection, output hidden")
            flag = bisect(lambda tried: attempt(tried, True).crashed, setup)
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


def _instruction(fault: Fault | None) -> tuple[str, tuple[str, ...]]:
    """The instruction and what it needs beyond x86-64-v1; empty if it is not known."""
    if fault is None or not fault.code:
        return "", ()
    from cpuprobe.code.decode import decode

    try:
        decoded = decode(fault.code)[0]
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


def to_record(result: Result, wasmtime: str, earlier: Record | None) -> bytes:
    """The record of a run that ended, with what an earlier record had switched off."""
    record = Record(
        wasmtime=wasmtime,
        target=result.setup.target,
        flags=dict(result.setup.flags),
        changes=(*(() if earlier is None else earlier.changes), *result.changes),
    )
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def read_record(content: bytes, name: str) -> Record:
    """Reads a record.

    Raises:
        CaptureError: it is none.
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
