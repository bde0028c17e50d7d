"""Standard input that a program can read twice: a pipe is kept in a temporary file."""

from __future__ import annotations

import errno
import os

from cpuprobe.errors import CannotMeasureError, UsageError

MAXIMUM_INPUT = 256 << 20
"""Bytes of a piped standard input that are kept for a second run."""
_PIECE = 1 << 20


def keep_input(spool: bool) -> bool:
    """Whether standard input can be read again; with `spool` it is made so unless a terminal.

    Raises:
        UsageError: there is too much of it to keep.
        CannotMeasureError: it cannot be kept. What was read of it until then is lost.
    """
    try:
        os.lseek(0, 0, os.SEEK_CUR)
    except OSError as error:
        # Somebody types there, or there is none at all.
        if not spool or error.errno != errno.ESPIPE or os.isatty(0):
            return False
    else:
        return True
    import tempfile

    try:
        with tempfile.TemporaryFile() as store:
            size = 0
            while piece := os.read(0, _PIECE):
                size += len(piece)
                if size > MAXIMUM_INPUT:
                    raise UsageError(
                        f"--retry: standard input is a pipe of over {MAXIMUM_INPUT >> 20} MiB, too "
                        "much to keep for a second run: give it as a file (<FILE)"
                    )
                store.write(piece)
            store.flush()
            os.lseek(store.fileno(), 0, os.SEEK_SET)
            os.dup2(store.fileno(), 0)
    except OSError as error:
        raise CannotMeasureError(
            f"--retry: standard input cannot be kept for a second run: {error.strerror}"
        ) from None
    return True
