"""What `check` found, as remarks that a service shows beside files: pure.

The renderers for SARIF and for GitHub share these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from cpuprobe.report import builds_text, fit
from cpuprobe.words import counted, plain

Severity = Literal["error", "warning", "note"]


class Rule(NamedTuple):
    """One kind of remark.

    Attributes:
        title: in a few words.
        meaning: what it says of a file.
        remedy: what to do about it.
        severity: where nothing else is asked for.
    """

    title: str
    meaning: str
    remedy: str
    severity: Severity


RULES: dict[str, Rule] = {
    "dies": Rule(
        "Every run or load executes what the target lacks",
        "An instruction of a feature that the target lacks lies on the one way that every run or "
        "load takes, with no choice before it. There it ends with SIGILL.",
        "Build for the target: find the -march, -mtune or target-cpu that came in.",
        "error",
    ),
    "refused": Rule(
        "The loader refuses the file",
        "The dynamic loader or wasmtime compares what the file says it needs with the machine and "
        "does not load it; the message has its words.",
        "Build for the target, without the note or the flag that asks for more.",
        "error",
    ),
    "unguarded": Rule(
        "Code beyond the target that nothing guards",
        "The file holds instructions of features that the target lacks, and no choice at run time "
        "that would keep them from being executed was found.",
        "Build for the target, or choose at run time; if callers choose, say so with --allow.",
        "error",
    ),
    "foreign": Rule(
        "Code for another architecture",
        "The file holds no code for the processors that it was held against.",
        "Leave it out of the check, or out of the release.",
        "error",
    ),
    "unreadable": Rule(
        "The file cannot be read",
        "It is cut off, damaged, or takes more work than any file may.",
        "Build it again, or leave it out of the check.",
        "warning",
    ),
    "unread": Rule(
        "The file is of a kind that is not read",
        "Whether code in it runs on the target is not known.",
        "Unpack it and check what it holds.",
        "warning",
    ),
    "guarded": Rule(
        "Code beyond the target that the file chooses at run time",
        "The file holds instructions of features that the target lacks, in islands, and asks the "
        "CPU before it goes there.",
        "Nothing, unless none of it is meant to be there.",
        "note",
    ),
    "came": Rule(
        "Code beyond the target that the build before had not",
        "A function holds what the target lacks that no function of its name held before, or the "
        "verdict has become a worse one.",
        "Find what brought it: a dependency, a compiler, an option. If it is right, --allow it.",
        "error",
    ),
    "stale": Rule(
        "A row of the allow-list that nothing meets",
        "What it allows is not there any more, or is not beyond the target.",
        "Take it out, so that it allows nothing new.",
        "warning",
    ),
}


class Place(NamedTuple):
    """A function, and the first instruction in it that is meant."""

    name: str
    address: int


class Remark(NamedTuple):
    """One remark.

    Attributes:
        rule: a key of RULES.
        severity: of this one.
        path: the file.
        text: one or two sentences on one line.
        places: a few functions, by address.
        reason: why an allow-list allows it; None where none does.
    """

    rule: str
    severity: Severity
    path: str
    text: str
    places: tuple[Place, ...] = ()
    reason: str | None = None


_MOST_PLACES = 8


def remarks(report: Mapping[str, Any], quiet: bool = False) -> Iterator[Remark]:
    """The remarks on a document of `check` or of `check --diff`, the worst first.

    Args:
        report: the document.
        quiet: only what makes the check fail.
    """
    if report["schema"] == builds_text.SCHEMA:
        for file in builds_text.worst_first(report):
            if file["fails"]:
                yield _came(file, report["against"])
        return
    for file in fit.worst_first(report):
        if file["expectation"] != "runs" and (file["fails"] or not quiet):
            yield _of(file)
    for stale in report["stale"]:
        if not quiet or report["stale_fails"]:
            what = f"{stale['what']} in {stale['file']}" if stale["what"] else stale["file"]
            severity: Severity = "error" if report["stale_fails"] else "warning"
            text = f"row {stale['row']} meets nothing: {what}"
            yield Remark("stale", severity, report["allow"], plain(text))


def _of(file: Mapping[str, Any]) -> Remark:
    rule = file["expectation"]
    severity: Severity = "error" if file["fails"] or file["error"] else "note"
    if rule == "unread" and severity == "note":
        severity = "warning"
    text = file["error"] or file["reason"]
    if file["message"] is not None:
        text += f"; message: {file['message']}"
    excess = file["excess"]
    if excess and file["permissions"]:
        text += f"; not allowed: {counted(len(excess), 'function')}"
    uses = file["needs"]["features"] if file["needs"] else {}
    found = [place for name in file["missing"] for place in uses[name]["places"]]
    reasons = dict.fromkeys(each["reason"] for each in file["permissions"])
    return Remark(
        rule,
        severity,
        file["path"],
        plain(text),
        _places(excess or found),
        plain("; ".join(reasons)) if file["allowed"] else None,
    )


def _came(file: Mapping[str, Any], against: str) -> Remark:
    text = f"beyond {against} came {builds_text.gist(file)}"
    if file["old"] is None:
        text += "; the build before has no such file"
    return Remark("came", "error", file["path"], plain(text), _places(file["came"]))


def _places(functions: list[Mapping[str, Any]]) -> tuple[Place, ...]:
    first: dict[str | int, Place] = {}
    for each in sorted(functions, key=lambda each: int(each["address"])):
        name, address = plain(each["name"]), each["address"]
        first.setdefault(name or address, Place(name, address))
    return tuple(first.values())[:_MOST_PLACES]


def summary(report: Mapping[str, Any]) -> str:
    """How many files got which answer, and how many of what kinds are not read, as one line."""
    compared = report["schema"] == builds_text.SCHEMA
    text = builds_text.summary(report) if compared else fit.summary(report)
    more = f"; not read: {fit.kinds(report['unread'])}" if report["unread"] else ""
    return plain(f"{text}{more}")


def is_complete(report: Mapping[str, Any]) -> bool:
    """Whether all that was to be read was, and that was something."""
    files = report["files"]
    return report["schema"] == builds_text.SCHEMA or (
        any(file["needs"] for file in files) and not any(file["error"] for file in files)
    )
