"""The report file: observation and assessment in one JSON document."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cpuprobe.assessment.model import Assessment
from cpuprobe.observation import Observation

SCHEMA = "cpuprobe.report/1"
VERSION = "0.1.0"


class Report(msgspec.Struct, frozen=True):
    """A report file. `schema` stays at major version 1 as long as no key changes its meaning."""

    schema: str
    cpuprobe: str
    observation: Observation
    assessment: Assessment


def make_report(observation: Observation, assessment: Assessment) -> Report:
    """A report by this version of cpuprobe."""
    return Report(SCHEMA, VERSION, observation, assessment)


def to_json(reports: Report | Sequence[Report]) -> bytes:
    """One report as an object, or several as an array; one line, newline at the end."""
    return msgspec.json.encode(reports) + b"\n"
