"""The compiled extension: there is one, or none, or one that was built of other sources.

Installed from a wheel both are of one version. In a checkout the Python changes with `git pull`,
and the extension when it is built.
"""

from __future__ import annotations

import os
import zlib
from typing import Any

from cpuprobe.errors import CannotMeasureError

CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""Where the sources in C are, if this is one."""
_MOST = (1 << 31) - 1
"""What every C compiler takes for a constant of an enumeration."""


def interface(checkout: str) -> int | None:
    """What tells of the sources by which Python knows the extension; None: they are not there.

    native/binding.py builds the same into the extension.
    """
    native = os.path.join(checkout, "native")
    told = 0
    try:
        headers = sorted(name for name in os.listdir(f"{native}/scan") if name.endswith(".h"))
        for name in [*(f"scan/{header}" for header in headers), "binding.py"]:
            with open(f"{native}/{name}", "rb") as file:
                told = zlib.crc32(file.read(), told)
    except OSError:
        return None
    return told & _MOST


def extension() -> tuple[Any, Any]:
    """The `ffi` and `lib` of cffi; None and None where the package was built without.

    Raises:
        CannotMeasureError: it was built of other sources than these.
    """
    try:
        from cpuprobe._native import ffi, lib
    except ImportError:
        return None, None
    known = interface(CHECKOUT)
    if known is not None and getattr(lib, "CPUPROBE_INTERFACE", None) != known:
        raise CannotMeasureError(
            f"the compiled extension is not of these sources: build it again (`make run` in "
            f"{CHECKOUT}, or `pip install -e .`)"
        )
    return ffi, lib
