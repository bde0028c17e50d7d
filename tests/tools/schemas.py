"""docs/schemas/: the JSON Schema of what each command prints with --json, made from the types.

The schema of a report is docs/report.schema.json. More keys may be added within a version of a
schema; those that are there keep name and meaning.
"""

from __future__ import annotations

from typing import Any

import msgspec

from cpuprobe.assessment.difference import Difference
from cpuprobe.check.allow import Stale
from cpuprobe.check.builds import Difference as BuildDifference
from cpuprobe.check.judge import Fit
from cpuprobe.check.profile_facts import Listing, Shown
from cpuprobe.check.profile_fit import Verdicts
from cpuprobe.check.variants import Variants
from cpuprobe.fleet.cost import Costs
from cpuprobe.fleet.model import Fleet
from cpuprobe.fleet.tables import Manifest
from cpuprobe.report.explanation import Answer
from cpuprobe.wasm.bench import Table
from cpuprobe.wasm.installed import Inference, Introspection
from cpuprobe.wasm.module_proof import ModuleProof
from cpuprobe.wasm.preset_lint import Lints
from cpuprobe.wasm.verification import Verification

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_WRITTEN_SHORT = ("functions", "sketch")  # of what a file needs: `excess` has those that matter


def _with(kind: Any, *more: tuple[str, Any]) -> Any:
    """A document that has the fields of a type beside others."""
    fields = [(each.name, each.type) for each in msgspec.structs.fields(kind)]
    return msgspec.defstruct(kind.__name__, [*more, *fields])


_SCHEMA = ("schema", str)
_CHECK = msgspec.defstruct(
    "Check",
    [
        _SCHEMA,
        ("against", str),
        ("files", list[Fit]),
        ("unread", dict[str, int]),
        ("allow", str),
        ("stale_fails", bool),
        ("stale", list[Stale]),
        ("variants", list[Variants]),
    ],
)
_BENCH = msgspec.defstruct(
    "Bench", [_SCHEMA, ("wasmtime", str), ("rounds", int), ("modules", list[Table])]
)
_CHECK_DIFF = msgspec.defstruct(
    "CheckDiff",
    [_SCHEMA, ("against", str), ("files", list[BuildDifference]), ("unread", dict[str, int])],
)
_VERIFY = _with(
    Verification,
    _SCHEMA,
    ("verdict", str),
    ("inference", Inference | None),
    ("introspection", Introspection | None),
    ("seconds", float),
)

KINDS: dict[str, tuple[str, Any]] = {
    "bench": ("cpuprobe bench --json", _BENCH),
    "check": ("cpuprobe check --json", _CHECK),
    "check-diff": ("cpuprobe check --diff --json", _CHECK_DIFF),
    "diff": ("cpuprobe diff --json", Difference),
    "explain": ("cpuprobe explain --json", Answer),
    "flags": ("cpuprobe flags --format json", dict[str, bool]),
    "fleet": ("cpuprobe fleet --json", Fleet),
    "fleet-ingest": ("cpuprobe fleet ingest --json", Manifest),
    "profile-check": ("cpuprobe profile check --json", Verdicts),
    "profile-cost": ("cpuprobe profile cost --json", Costs),
    "profile-lint": ("cpuprobe profile lint --json", Lints),
    "profile-list": ("cpuprobe profile list --json", Listing),
    "profile-show": ("cpuprobe profile show --json", Shown),
    "verify": ("cpuprobe verify --json", _VERIFY),
    "verify-module": (
        "cpuprobe verify --module --json",
        _with(ModuleProof, _SCHEMA, ("verdict", str)),
    ),
}


def schema(name: str) -> dict[str, Any]:
    """The schema of one kind of document."""
    title, kind = KINDS[name]
    made: dict[str, Any] = {"$schema": _DIALECT, "title": title, **msgspec.json.schema(kind)}
    if name == "check":
        _as_written(made["$defs"])
    return made


def _as_written(kinds: dict[str, Any]) -> None:
    """What `cpuprobe.report.fit` adds to a file and leaves out of what it needs."""
    kinds["Fit"]["properties"]["fails"] = {"type": "boolean"}
    kinds["Fit"]["required"].append("fails")
    for name in _WRITTEN_SHORT:
        del kinds["Needs"]["properties"][name]
        if name in kinds["Needs"]["required"]:
            kinds["Needs"]["required"].remove(name)


def pages() -> dict[str, bytes]:
    """Each file in docs/schemas with its content."""
    return {
        f"{name}.schema.json": msgspec.json.format(msgspec.json.encode(schema(name)), indent=2)
        + b"\n"
        for name in KINDS
    }
