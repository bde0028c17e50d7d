"""The door: what a command prints or writes leaves here and nowhere else, cleaned.

Text may hold what a stranger wrote: a name of a file, a brand, a kernel's release. Here every line
of it loses what would move a terminal's cursor, hide or reorder, and what the log of a GitHub
workflow would take for a command; renderers need not think of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

from cpuprobe.words import WIDTH, visible, visible_json, within

if TYPE_CHECKING:
    from cpuprobe.report.layout import Line

_SGR = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_CELLS = 24
# Opened by name it would be written from its beginning, over what the shell has appended to.
_STANDARD_OUTPUT = ("-", "/dev/stdout", "/dev/fd/1")
_COMMANDS = ("::", "##[")


class ReaderGone(Exception):
    """Nobody reads standard output any more (`| head`), or it was closed from the start."""


def on_terminal() -> bool:
    """Whether somebody looks at standard output, and no file or program takes it."""
    return sys.stdout is not None and sys.stdout.isatty()


def width() -> int:
    """Columns to fill: the terminal's, at most 100; 100 where there is none."""
    if not on_terminal():
        return WIDTH
    import shutil

    return min(shutil.get_terminal_size().columns, WIDTH)


def _coloured(stream: TextIO) -> bool:
    """Whether to colour (no-color.org; bixense.com/clicolors)."""
    told = os.environ.get
    if told("NO_COLOR"):
        return False
    if told("CLICOLOR_FORCE", "0") != "0" or told("FORCE_COLOR", "0") not in ("", "0", "false"):
        return True
    return stream.isatty() and told("CLICOLOR") != "0" and told("TERM") != "dumb"


def _write(stream: TextIO | None, text: str | bytes) -> None:
    if stream is None:
        raise ReaderGone
    try:
        stream.flush()
        if isinstance(text, str):
            text = text.encode(stream.encoding or "utf-8", "replace")
        stream.buffer.write(text)
        stream.buffer.flush()
    except BrokenPipeError:
        raise ReaderGone from None


def print_lines(lines: Iterable[Line]) -> None:
    """Lines to standard output, in colour if that is wanted there."""
    from cpuprobe.report.layout import text_of

    shown = _in_colour if sys.stdout is not None and _coloured(sys.stdout) else text_of
    with within(width()):  # some are made while they are asked for
        text = "".join(f"{_no_command(shown(line).rstrip())}\n" for line in lines)
    _write(sys.stdout, text)


def _in_colour(line: Line) -> str:
    from cpuprobe.report.layout import pieces

    return "".join(
        f"\x1b[{';'.join(_SGR[word] for word in style.split())}m{text}\x1b[0m" if style else text
        for text, style in pieces(line)
    )


def print_text(text: str, commands: bool = False) -> None:
    """Text that is made already, cleaned line by line, to standard output.

    Args:
        text: what to print.
        commands: it may hold commands of a GitHub workflow, each made by its renderer.
    """
    cleaned = _cleaned(text)
    _write(sys.stdout, cleaned if commands else "\n".join(map(_no_command, cleaned.split("\n"))))


def _cleaned(text: str) -> str:
    return "\n".join(map(visible, text.split("\n")))


def _no_command(line: str) -> str:
    """A line that a GitHub workflow's log takes for text (actions/runner, ActionCommand.cs)."""
    return f"\ufffd{line}" if line.lstrip().startswith(_COMMANDS) else line


def print_result(document: Any, json: bool, text: Callable[[], str | Iterable[Line]]) -> None:
    """A result to standard output: as one JSON document, or as text for people.

    Args:
        document: the result; bytes are JSON already.
        json: whether JSON is wanted.
        text: makes the text; not asked for JSON.
    """
    if json:
        import msgspec

        try:
            ready = isinstance(document, bytes)
            content = document if ready else msgspec.json.encode(document) + b"\n"
        except UnicodeEncodeError:  # a name of a file that is no UTF-8
            from json import dumps

            content = dumps(msgspec.to_builtins(document)).encode() + b"\n"
        _write(sys.stdout, visible_json(content))  # UTF-8 for whoever reads it (RFC 8259, 8.1)
        return
    with within(width()):
        told = text()
    if isinstance(told, str):
        print_text(told)
    else:
        print_lines(told)


def tell(*lines: str) -> None:
    """Lines on standard error; line feeds in them are blanks."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.writelines(visible(line.replace("\n", " ")) + "\n" for line in lines)
            sys.stderr.flush()


def note(sentence: str) -> None:
    """What the user should know though all went well."""
    tell(f"cpuprobe: note: {sentence}")


def complain(sentence: str) -> None:
    """What went wrong."""
    tell(f"cpuprobe: error: {' '.join(sentence.split()) or 'unknown error'}")


class Progress:
    """One line at the bottom of a terminal's standard error, which goes away at the end."""

    def __init__(self) -> None:
        """Nothing is shown where standard error is no terminal."""
        self._shown = sys.stderr is not None and sys.stderr.isatty()
        self._next = 0.0

    def __call__(self, what: str, done: int, of: int, more: str = "") -> None:
        """Moves the bar, at most ten times a second.

        Args:
            what: what is done.
            done: how much of it; no unit.
            of: how much there is; 0: unknown.
            more: said after the bar.
        """
        if not self._shown:
            return
        import time

        now = time.monotonic()
        if now < self._next and done != of:
            return
        self._next = now + 0.1
        bar = ""
        if of:
            filled = min(_CELLS * done // of, _CELLS)
            bar = f" [{'#' * filled}{'.' * (_CELLS - filled)}] {100 * done // of:>3}%"
        self._draw(f"\r{visible(what)}{bar}{f' {more}' if more else ''}\x1b[K")

    def say(self, sentence: str) -> None:
        """A line on standard error, above the bar if there is one."""
        self._draw("\r\x1b[K")
        self._next = 0.0
        tell(sentence)

    def _draw(self, text: str) -> None:
        if self._shown:
            with contextlib.suppress(OSError):
                sys.stderr.write(text)
                sys.stderr.flush()


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """A progress bar, taken away at the end."""
    bar = Progress()
    try:
        yield bar
    finally:
        bar._draw("\r\x1b[K")


def write_page(page: str, output: str | None) -> None:
    """A page to standard output, or to a file that is either whole or as it was.

    Args:
        page: what to write.
        output: the file; None or `-` is standard output. A device or a pipe is written as it is.

    Raises:
        OSError: it cannot be written; names the file as the user did.
    """
    cleaned = _cleaned(page)
    if output is None or output in _STANDARD_OUTPUT:
        return _write(sys.stdout, cleaned)
    try:
        _store(output, cleaned.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, output) from None


def _store(path: str, content: bytes) -> None:
    """Beside the file and then into its place, so that it is never there in part.

    What others may hold on to is written in place: what a link leads to, what has a second name,
    what is another user's, and whatever lies in a folder that takes no new file.
    """
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        there = None
    if there is not None and not (
        stat.S_ISREG(there.st_mode)
        and there.st_nlink == 1
        and there.st_uid == os.geteuid()
        and os.access(path, os.W_OK)
    ):
        return _store_in_place(path, content)
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}.{os.getpid()}.new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError:
        return _store_in_place(path, content)
    try:
        with open(descriptor, "wb") as file:
            if there is not None:
                os.fchmod(descriptor, stat.S_IMODE(there.st_mode))
            file.write(content)
        os.replace(beside, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(beside)  # if it has not come into its place
    return None


def _store_in_place(path: str, content: bytes) -> None:
    """Room is made before anything is overwritten: on a full disk the old content stays."""
    new = not os.path.lexists(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    with open(descriptor, "wb") as file:
        if not os.path.isfile(path):  # a device or a pipe
            file.write(content)
            return
        size = os.fstat(descriptor).st_size
        try:
            if content:
                os.posix_fallocate(descriptor, 0, len(content))
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # a file system without it
                if new:
                    os.unlink(path)
                else:
                    os.ftruncate(descriptor, size)
                raise
        file.write(content)
        file.truncate()
