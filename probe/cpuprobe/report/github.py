"""What `check` found as workflow commands of GitHub Actions, which make annotations: pure.

The escapes are those of GitHub's own toolkit (actions/toolkit, packages/core, command.ts).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cpuprobe.report.remarks import RULES, remarks, summary
from cpuprobe.words import names, plain

_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}


def to_github(report: Mapping[str, Any], quiet: bool = False) -> str:
    """One command a line, the worst first, for GitHub shows ten of a kind; then a line of sums.

    What an allow-list allows is not told, nor what is guarded.

    Args:
        report: the document of `check`, or of `check --diff`.
        quiet: only what makes the check fail.
    """
    return "".join(f"{line}\n" for line in _lines(report, quiet))


def _lines(report: Mapping[str, Any], quiet: bool) -> Iterator[str]:
    for each in remarks(report, quiet):
        if each.reason is not None or each.severity == "note":
            continue
        where = names([place.name for place in each.places if place.name], 3)
        text = f"{each.text}; in {where}" if where else each.text
        yield (
            f"::{_COMMANDS[each.severity]} file={_property(plain(each.path.removeprefix('./')))},"
            f"title={_property(RULES[each.rule].title)}::{_data(text)}"
        )
    if not quiet:
        yield summary(report)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
