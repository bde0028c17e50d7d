"""The report file: observation and assessment in one JSON document."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cpuprobe.assessment.model import Assessment
from cpuprobe.evidence.observation import Observation
from cpuprobe.version import VERSION
from cpuprobe.wasm.installed import Inference, Introspection

SCHEMA = "cpuprobe.report/1"


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a report file holds.

    Attributes:
        schema: `cpuprobe.report/1`.
        cpuprobe: the version that wrote it.
        observation: what was measured.
        assessment: what it means.
        introspection: what the wasmtime of this machine said; only `cpuprobe report` asks it.
        inference: that beside the model's answer; left out where wasmtime did not say what it
            infers.
    """

    schema: str
    cpuprobe: str
    observation: Observation
    assessment: Assessment
    introspection: Introspection | None = None
    inference: Inference | None = None


def make_report(
    observation: Observation,
    assessment: Assessment,
    introspection: Introspection | None = None,
    inference: Inference | None = None,
) -> Report:
    """A report by this version of cpuprobe."""
    return Report(SCHEMA, VERSION, observation, assessment, introspection, inference)


def to_json(reports: Report | Sequence[Report]) -> bytes:
    """One report as an object, or several as an array; one line, newline at the end."""
    return msgspec.json.encode(reports) + b"\n"
