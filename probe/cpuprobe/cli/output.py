"""Writes what a command makes: whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable
from typing import Any


def write_whole(content: bytes, output: str | None) -> None:
    """To standard output, or to a file that is either whole or as it was.

    Args:
        content: what to write.
        output: the file; None or `-` is standard output. A device or a pipe is written as it is.

    Raises:
        OSError: it cannot be written; names the file as the user did.
    """
    if output is None or output == "-":
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        if os.path.exists(output) and not os.path.isfile(output):
            with open(output, "wb") as file:  # a device or a pipe; a folder fails here
                file.write(content)
        else:
            _replace(os.path.realpath(output), content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, output) from None


def _replace(path: str, content: bytes) -> None:
    """Writes beside the file and renames."""
    import tempfile

    descriptor, temporary = tempfile.mkstemp(
        prefix=f".{os.path.basename(path)[:100]}.", dir=os.path.dirname(path)
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(temporary, _mode(path))
        os.replace(temporary, path)
    finally:
        # Gone after the rename; left over only if something above failed.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _mode(path: str) -> int:
    """The permissions of the file that is replaced, or those a new file would get."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask


def write_result(document: Any, json: bool, text: Callable[[], str]) -> None:
    """To standard output: a document as JSON on one line, or the text that tells it."""
    import msgspec

    content = msgspec.json.encode(document) + b"\n" if json else text().encode("utf-8", "replace")
    write_whole(content, None)
