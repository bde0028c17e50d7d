"""The two calls that put everything together for an embedder of wasmtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpuprobe.assessment import assess
from cpuprobe.errors import CannotMeasureError
from cpuprobe.evidence.measure import observe
from cpuprobe.facts.target import TARGETS

if TYPE_CHECKING:
    import wasmtime


def safe_flags() -> dict[str, bool]:
    """The flags for the installed wasmtime that are safe on this machine.

    Returns:
        Every `has_*` flag which that version knows (the newest known version where none is
        installed), each true or false.

    Raises:
        CannotMeasureError: this machine cannot be measured.

    Example:
        >>> flags = safe_flags()
        >>> flags["has_apx"]  # wasmtime accepts it on no host
        False
    """
    return assess(observe()).cranelift


def safe_config() -> wasmtime.Config:
    """A configuration of the installed wasmtime with the safe flags set and the target pinned.

    Raises:
        CannotMeasureError: this machine cannot be measured, wasmtime is not installed, or it is
            older than 13 and cannot be told flags from Python.

    Example:
        >>> import wasmtime
        >>> engine = wasmtime.Engine(safe_config())
    """
    assessment = assess(observe())
    try:
        from wasmtime import Config
    except ImportError:
        raise CannotMeasureError("wasmtime is not installed: pip install wasmtime") from None
    from cpuprobe.wasm.configure import MissingOptionError, set_flags

    config = Config()
    try:
        set_flags(config, TARGETS[assessment.isa], assessment.cranelift)
    except MissingOptionError as error:
        raise CannotMeasureError(f"{error}; 13 is the first that has") from None
    return config
