"""The first screen: verdict, why, what to do, the evidence in a few rows, and how to go on. Pure.

At most twenty lines for a healthy machine or one with a single cause, on 80 columns; everything
else is behind --all. Commands are never broken.
"""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.assessment.model import Assessment
from cpuprobe.report.layout import Cell, Line, Styled, cells, fold, paragraph, table, table_rows
from cpuprobe.report.spoken import level_means, spoken
from cpuprobe.report.verdict import (
    baseless,
    evidence_rows,
    gravest,
    identity_words,
    mismatch,
    told,
    unproven,
)
from cpuprobe.words import counted

_LEAD = 14  # columns of the words at the left
_MOST_ROWS = 6
_NARROW = 72  # columns below which features that are alike stand below each other
_MOST_NOTES = 2

_STANDING = {
    "usable": "has",
    "unverified": "has",
    "absent": "has not",
    "hidden": "has not",
    "unknown": "unknown",
    "gated": "on request",
}


def screen(
    assessment: Assessment, ran: int, width: int, on: str = "", code: str = ""
) -> Iterator[Line]:
    """The first screen.

    Args:
        assessment: of the machine.
        ran: how many instructions were executed on each CPU; 0 where it is not known.
        width: of the terminal, in columns.
        on: what names the machine on a command line, quoted; empty: it is this one.
        code: ends the screen, so that `inspect` reads it; empty: it is said how to get it.
    """
    named = f" --on {on}" if on else ""
    whole = f"cpuprobe inspect {on} --all" if on else "cpuprobe --all"
    yield from fold(", ".join(identity_words(assessment)), width)
    yield ""
    yield from _verdict(assessment, ran, width)
    yield from _reasons(assessment, width)
    if assessment.verdict == "mismatch":
        yield from _command("until then", f"cpuprobe flags{named} --only-off --format cli", width)
        yield from _level(assessment, width)
        yield ""
        yield from _evidence(assessment, width)
    else:
        yield ""
        yield from _level(assessment, width)
        yield from _standings(assessment, width)
    for note in assessment.notes[:_MOST_NOTES]:
        yield from _row("note", note, width)
    yield ""
    codes = " ".join(dict.fromkeys(each.code for each in assessment.findings))
    yield from _command("details", whole, width, codes)
    if assessment.verdict != "mismatch":
        yield from _command("wasmtime", f"cpuprobe flags{named}", width)
    shared = "or paste this text" if code else "" if on else "or: cpuprobe --share"
    yield from _command("share", f"cpuprobe report{named} -o report.md", width, shared)
    yield from code_lines(code, width)


def code_lines(code: str, width: int) -> Iterator[Line]:
    """The share code that ends a text, an empty line above it; nothing where there is none."""
    room = max(width - 2, 8)
    for at in range(0, len(code), room):
        if at == 0:
            yield ""
        yield f"  {code[at : at + room]}"


def _verdict(assessment: Assessment, ran: int, width: int) -> Iterator[Line]:
    if assessment.verdict == "mismatch":
        lead, words = Styled("MISMATCH", "bold red"), f"{mismatch(assessment, capital=True)}."
    elif assessment.verdict == "insufficient":
        lead, words = Styled("UNKNOWN", "bold yellow"), f"{told(assessment)}."
    elif assessment.basis != "executed":
        lead, words = Styled("UNVERIFIED", "bold"), unproven(assessment)
    else:
        many = f": {counted(ran, 'instruction')} executed on each CPU" if ran else ""
        words = f"This machine does what it claims{many}."
        lead = Styled("OK", "bold green")
    yield from paragraph(words, width, ("  ", lead, "  "), 4 + len(lead.text))


def _row(lead: str, text: Line, width: int) -> Iterator[Line]:
    yield from paragraph(text, width, ("  ", Styled(lead, "bold")), _LEAD)


def _command(lead: str, command: str, width: int, more: str = "") -> Iterator[Line]:
    """A command behind a word, or on a line of its own where there is no room for both."""
    taken = _LEAD + cells(command)
    if taken <= width:
        beside = f"   {more}" if more and taken + 3 + cells(more) <= width else ""
        yield "  ", Styled(lead, "bold"), " " * (_LEAD - 2 - len(lead)), command, beside
    else:
        beside = ""
        yield "  ", Styled(lead, "bold")
        yield f"  {command}" if 2 + cells(command) <= width else command
    if more and not beside:
        yield from _row("", more, width)


def _reasons(assessment: Assessment, width: int) -> Iterator[Line]:
    first = gravest(assessment)
    if first is not None and first.cause:
        yield from _row("why", f"{first.cause}.", width)
    if first is not None and first.remedy:
        yield from _row("fix", first.remedy, width)


def _evidence(assessment: Assessment, width: int) -> Iterator[Line]:
    """What the witnesses say of the features in question; one row for all that are alike."""
    alike = evidence_rows(assessment)
    told = alike[:_MOST_ROWS]
    headings = ("  feature", spoken(assessment).column, "OS", "kernel", "executed")
    likewise = [f"likewise {', '.join(names[1:])}" if names[1:] else "" for _, names in told]
    rows: list[list[Cell]] = [[f"  {names[0]}", *said] for said, names in told]
    if width >= _NARROW:
        rows = [[*row, more] for row, more in zip(rows, likewise, strict=True)]
        yield from table((*headings, ""), rows, width)
    else:
        head, *parts = table_rows(headings, rows, width)
        yield from head
        for part, more in zip(parts, likewise, strict=True):
            yield from part
            yield from paragraph(more, width, "    ") if more else ()
    if len(alike) > _MOST_ROWS:
        yield f"  and {len(alike) - _MOST_ROWS} more rows (--all shows them)"


def _level(assessment: Assessment, width: int) -> Iterator[Line]:
    if assessment.verdict == "insufficient":
        return  # the verdict says between which levels it is
    level = assessment.level
    below = f"below {spoken(assessment).lowest}"
    words = f"{level or below}: {level_means(assessment)}"
    if level is None and assessment.bits == 32:
        words = "32-bit: programs for x86-64 do not run"
    elif assessment.level_at_least != assessment.level_at_most:
        low = f"at least {assessment.level_at_least}, " if assessment.level_at_least else ""
        words = f"{low}at most {assessment.level_at_most}: not all of it is known"
    elif assessment.advertised_level not in (None, level):
        words = f"{level or below}, though it advertises {assessment.advertised_level}"
    yield from _row("level", words, width)


def _standings(assessment: Assessment, width: int) -> Iterator[Line]:
    order = ("has", "on request", "not safe", "has not", "not proven", "unknown")
    unfounded = baseless(assessment)
    standings: dict[str, list[str]] = {standing: [] for standing in order}
    for name, called in spoken(assessment).names.items():
        state = assessment.features[name].state
        unproven = state == "unverified" and assessment.basis == "executed"
        standing = "not proven" if unproven else _STANDING.get(state)
        standing = "not safe" if name in unfounded else standing
        if standing is not None:
            standings[standing].append(called)
    for standing, listed in standings.items():
        if listed:
            yield from _row(standing, " ".join(listed), width)
