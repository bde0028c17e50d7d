"""How a run of a program ended, and what a second one would repeat. Pure."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

from cpuprobe.wasm.setup import Setup

if TYPE_CHECKING:
    from cpuprobe.wasm.record import Change

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


class Fault(NamedTuple):
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


class Ending(NamedTuple):
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


class Result(NamedTuple):
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
