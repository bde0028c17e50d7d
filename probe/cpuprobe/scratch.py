"""What a run needs for a time: files, where a root may be read-only; further interpreters."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from typing import IO

from cpuprobe.errors import CannotMeasureError


def nameless_file() -> IO[bytes]:
    """A file to write and to read back, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("cpuprobe"), "w+b")
    import tempfile

    return tempfile.TemporaryFile()


def boot() -> str:
    """How a script begins that a fresh interpreter gets by -c: the modules are this process's.

    Nothing may be imported before: -c puts the current folder first, and who knows what is in it.
    """
    # Where this package itself came from may not be on the path: a zip, a frozen program's own way.
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = list(dict.fromkeys([*filter(None, sys.path), here]))
    return f"import sys; sys.path[:] = {path!r}\n"


def temporary_folder() -> AbstractContextManager[str]:
    """A private folder, gone at the end. Raises CannotMeasureError where none can be made."""
    import tempfile

    try:
        return tempfile.TemporaryDirectory(prefix="cpuprobe-")
    except OSError:
        raise CannotMeasureError(
            "no folder for temporary files can be written: name one in TMPDIR"
        ) from None
