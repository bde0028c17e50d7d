"""Files for the time of a run, where a root may be read-only and have no folder for them."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import IO

from cpuprobe.errors import CannotMeasureError


def nameless_file() -> IO[bytes]:
    """A file to write and to read back, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("cpuprobe"), "w+b")
    import tempfile

    return tempfile.TemporaryFile()


def temporary_folder() -> AbstractContextManager[str]:
    """A private folder, gone at the end. Raises CannotMeasureError where none can be made."""
    import tempfile

    try:
        return tempfile.TemporaryDirectory(prefix="cpuprobe-")
    except OSError:
        raise CannotMeasureError(
            "no folder for temporary files can be written: name one in TMPDIR"
        ) from None
