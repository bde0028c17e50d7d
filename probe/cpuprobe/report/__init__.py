"""Assessment -> something a person or a program reads: pure."""

from __future__ import annotations

from cpuprobe.report.document import SCHEMA, Report, to_json

__all__ = ["SCHEMA", "Report", "to_json"]
