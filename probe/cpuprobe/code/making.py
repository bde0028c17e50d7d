"""What makes tables of functions: C, or Python where the package has no extension."""

from __future__ import annotations

from types import ModuleType

from cpuprobe.code import native_functions, plain_functions
from cpuprobe.code.native import NATIVE


def maker() -> ModuleType:
    """The module whose functions are called: native_functions tells what they take and give."""
    return native_functions if NATIVE else plain_functions
