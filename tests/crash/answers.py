"""The answer to a crash as `cpuprobe explain --json` gives it."""

from __future__ import annotations

from collections.abc import Callable

from cpuprobe.assessment import Assessment
from cpuprobe.crash.diagnose import diagnose
from cpuprobe.evidence.crashes.model import Crash
from cpuprobe.report.explanation import Explanation, worded
from cpuprobe.words import HERE


def explained(crash: Crash, machine: Callable[[], Assessment], name: str = HERE) -> Explanation:
    """A diagnosis with its words."""
    return worded(diagnose(crash, machine, name))
