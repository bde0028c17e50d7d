"""A fresh interpreter for whatever loads wasmtime: a wrong flag kills it, and only it.

The other way to start a child is `fork`, for programs that have to stay in this process's world.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from signal import Signals
from typing import IO

from cpuprobe.evidence.installed import package_folder
from cpuprobe.scratch import boot, nameless_file
from cpuprobe.words import visible

PATIENCE = 60.0
"""Seconds a child may say nothing: the first answer takes about 0.3 on an idle machine."""


class ChildError(RuntimeError):
    """The installed wasmtime could not be asked; the message is one line.

    Attributes:
        how: the child's end alone: the signal that killed it, or its last words.
        code: its exit code, negative for a signal; None if it was never started.
        answered: whether wasmtime was reached, and failed or died.
    """

    def __init__(
        self, message: str, how: str = "", code: int | None = 0, answered: bool = True
    ) -> None:
        """The message is one line, and fit for a terminal."""
        super().__init__(visible(message))
        self.how = visible(how or message)
        self.code = code
        self.answered = answered


def word_of(signal: int) -> str:
    """A signal for a message: SIGILL, or `signal 77` where it has no name."""
    try:
        return Signals(signal).name
    except ValueError:
        return f"signal {signal}"


def run_script(
    script: str,
    arguments: Sequence[str] = (),
    *,
    prefix: Sequence[str] = (),
    patience: float = PATIENCE,
) -> Iterator[bytes]:
    """Runs a script in a fresh interpreter and yields what it writes, in pieces as they come.

    Args:
        script: Python source; `sys.argv[1:]` are the arguments, and `sys` is imported.
        arguments: see there.
        prefix: what to start the interpreter with, for example an emulator and its options.
        patience: seconds that it may say nothing.

    Raises:
        ChildError: no wasmtime, or the child died, failed or said nothing for too long.
    """
    if package_folder() is None:
        raise ChildError(
            "wasmtime is not installed for this Python: pip install wasmtime",
            code=None,
            answered=False,
        )
    command = [*prefix, sys.executable, "-c", boot() + script, *arguments]
    with nameless_file() as errors:
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
        except OSError as error:
            words = f"cannot start {command[0]}: {error.strerror}"
            raise ChildError(words, code=None, answered=False) from None
        with child:
            complete = False
            try:
                assert child.stdout is not None
                yield from _pieces(child.stdout, patience)
                complete = True
            finally:
                if not complete:
                    child.kill()
        errors.seek(0)
        if child.returncode != 0:
            raise _ended(child.returncode, errors.read())


def _pieces(stream: IO[bytes], patience: float) -> Iterator[bytes]:
    while True:
        if not select.select([stream], [], [], patience)[0]:
            how = f"did not answer within {patience:g} s"
            raise ChildError(f"wasmtime {how}", how, answered=False)
        data = os.read(stream.fileno(), 1 << 16)
        if not data:
            return
        yield data


def lines_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What comes in pieces, line by line."""
    pending = b""
    for piece in pieces:
        *lines, pending = (pending + piece).split(b"\n")
        yield from lines
    if pending:
        yield pending


def _ended(code: int, errors: bytes) -> ChildError:
    if code < 0:
        how = f"killed by {word_of(-code)}"
        return ChildError(f"wasmtime was {how} in its child process", how, code)
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    how = lines[-1] if lines else f"exit code {code}"
    return ChildError(f"wasmtime failed in its child process: {how}", how, code)
