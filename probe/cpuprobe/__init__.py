"""cpuprobe: what this CPU claims, what the kernel grants, and what the silicon does.

    >>> import cpuprobe
    >>> assessment = cpuprobe.assess(cpuprobe.observe())
    >>> assessment.verdict in ("consistent", "mismatch")
    True

Everything is imported when first used: `import cpuprobe` itself costs next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # to a type checker it is true; `typing` takes longer than all of this

if TYPE_CHECKING:
    from typing import Any

    from cpuprobe.api import safe_config as safe_config
    from cpuprobe.api import safe_flags as safe_flags
    from cpuprobe.assessment import Assessment as Assessment
    from cpuprobe.assessment import Finding as Finding
    from cpuprobe.assessment import assess as assess
    from cpuprobe.errors import CannotMeasureError as CannotMeasureError
    from cpuprobe.errors import CaptureError as CaptureError
    from cpuprobe.errors import CpuprobeError as CpuprobeError
    from cpuprobe.errors import UsageError as UsageError
    from cpuprobe.evidence.machines import read_capture as read_capture
    from cpuprobe.evidence.measure import observe as observe
    from cpuprobe.evidence.observation import Observation as Observation

__version__ = "0.2.0"

_HOME = {
    "Assessment": "assessment",
    "CannotMeasureError": "errors",
    "CaptureError": "errors",
    "CpuprobeError": "errors",
    "Finding": "assessment",
    "Observation": "evidence.observation",
    "UsageError": "errors",
    "assess": "assessment",
    "observe": "evidence.measure",
    "read_capture": "evidence.machines",
    "safe_config": "api",
    "safe_flags": "api",
}

__all__ = [
    "Assessment",
    "CannotMeasureError",
    "CaptureError",
    "CpuprobeError",
    "Finding",
    "Observation",
    "UsageError",
    "assess",
    "observe",
    "read_capture",
    "safe_config",
    "safe_flags",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Imports a public name from its module on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
