"""The errors that reach a user, each one line, each with its exit code.

    CpuprobeError
    +-- UsageError           2  the request makes no sense: unknown group, CPU or wasmtime version
    +-- CannotMeasureError   3  unsupported platform, helper missing, child cannot start
    +-- CaptureError         4  unreadable or hostile input

Tables that break their own rules raise `tables.TableError`: that is a defect of the installation.
"""

from __future__ import annotations

from collections.abc import Iterable


class CpuprobeError(Exception):
    """Anything that ends a command with one line and an exit code."""

    exit_code = 1


class UsageError(CpuprobeError):
    """The request itself is wrong."""

    exit_code = 2


class CannotMeasureError(CpuprobeError):
    """This machine cannot be measured."""

    exit_code = 3


class CaptureError(CpuprobeError):
    """A file from elsewhere that cannot be read as what it should be."""

    exit_code = 4


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a complaint about an unknown name: known ones that are near, or nothing."""
    import difflib

    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(near)}?" if near else ""
