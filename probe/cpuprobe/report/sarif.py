"""What `check` found as SARIF, for services that show such remarks: pure.

OASIS, Static Analysis Results Interchange Format 2.1.0; the numbers are its sections.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from cpuprobe.check.patterns import lasting_file, lasting_symbol
from cpuprobe.report.remarks import RULES, Remark, is_complete, remarks, summary
from cpuprobe.version import VERSION

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def to_sarif(report: Mapping[str, Any], quiet: bool = False) -> dict[str, Any]:
    """A log with one run.

    Args:
        report: the document of `check`, or of `check --diff`.
        quiet: only what makes the check fail.
    """
    driver = {
        "name": "cpuprobe",
        "version": VERSION,
        "rules": [
            {
                "id": name,
                "name": name.capitalize(),
                "shortDescription": {"text": f"{rule.title}."},
                "fullDescription": {"text": rule.meaning},
                "help": {"text": rule.remedy},
                "defaultConfiguration": {"level": rule.severity},
            }
            for name, rule in RULES.items()
        ],
    }
    told = {"level": "note", "message": {"text": summary(report)}}
    run = {
        "tool": {"driver": driver},
        "invocations": [
            {"executionSuccessful": is_complete(report), "toolExecutionNotifications": [told]}
        ],
        "results": [_result(each) for each in remarks(report, quiet)],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(each: Remark) -> dict[str, Any]:
    artifact = {"uri": _uri(each.path)}
    # A file of code has no lines; what shows remarks by line gets the first (3.30.5).
    region = {"startLine": 1}
    locations: list[dict[str, Any]] = [
        {
            "physicalLocation": {
                "artifactLocation": artifact,
                "region": region,
                "address": {"absoluteAddress": place.address, "kind": "instruction"},
            },
            **(
                {"logicalLocations": [{"fullyQualifiedName": place.name, "kind": "function"}]}
                if place.name
                else {}
            ),
        }
        for place in each.places
    ] or [{"physicalLocation": {"artifactLocation": artifact, "region": region}}]
    result = {
        "ruleId": each.rule,
        "ruleIndex": list(RULES).index(each.rule),
        "level": each.severity,
        "message": {"text": each.text},
        "locations": locations[:1],
        "relatedLocations": locations[1:],
        "partialFingerprints": {"cpuprobe/v1": _fingerprint(each)},
    }
    if each.reason is not None:
        result["suppressions"] = [{"kind": "external", "justification": each.reason}]
    return result


def _uri(path: str) -> str:
    """A path as a reference by URI (3.4.3); names that are no UTF-8 keep their bytes."""
    quoted = quote(path.encode("utf-8", "surrogateescape"), safe="/!+@,;=~")
    return f"file://{quoted}" if path.startswith("/") else quoted.removeprefix("./")


def _fingerprint(each: Remark) -> str:
    """What stays while a remark is the same one (3.27.17): no address, and no hash in a name."""
    names = sorted({lasting_symbol(place.name) for place in each.places})
    parts = "\n".join((each.rule, lasting_file(each.path), *names))
    return hashlib.sha256(parts.encode("utf-8", "surrogateescape")).hexdigest()[:32]
