"""Which wasmtime is installed, told without importing it or starting a process."""

from __future__ import annotations

import os
from importlib.machinery import PathFinder


def package_folder() -> str | None:
    """The folder on sys.path that holds the wasmtime package, None if there is none."""
    spec = PathFinder.find_spec("wasmtime")
    if spec is None or spec.origin is None:
        return None
    return os.path.dirname(os.path.dirname(os.path.abspath(spec.origin)))


def installed_version() -> str | None:
    """The version of the wasmtime package that Python would import, without importing it.

    Returns:
        For example `50.0.1`; None if there is none, or if it lies beside no `.dist-info` folder
        (PEP 376, PEP 427) or beside several.
    """
    folder = package_folder()
    if folder is None:
        return None
    start, end = "wasmtime-", ".dist-info"
    try:
        versions = [
            entry[len(start) : -len(end)]
            for entry in os.listdir(folder)
            if entry.startswith(start) and entry.endswith(end)
        ]
    except OSError:
        return None
    return versions[0] if len(versions) == 1 else None
