"""From the bytes of a capture to what the formats see in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines.archive import texts_of_archive
from cpuprobe.evidence.machines.documents import (
    MAXIMUM_EMBEDDED,
    embedded_documents,
    find_documents,
    parts_of,
)
from cpuprobe.evidence.machines.join import MAXIMUM_SIGHTINGS
from cpuprobe.evidence.machines.registry import FALLBACKS, OWN, Row, rows_for
from cpuprobe.evidence.machines.sighting import Paste, Sighting
from cpuprobe.evidence.observation import Observation
from cpuprobe.evidence.text.decode import decoded
from cpuprobe.evidence.text.lines import clean
from cpuprobe.evidence.text.records import opened_records
from cpuprobe.words import plain

MAXIMUM_BYTES = 64 << 20
RUN_INSTEAD = "run `cpuprobe report` or `lscpu | cat` on that machine instead"
_UNKNOWN = (
    "no capture of a known kind (cpuprobe report, cpuid -r, lscpu, /proc/cpuinfo and others, see"
    " docs/captures.md); best is the output of `cpuprobe report` or `lscpu | cat` of that machine"
)


class Seen(NamedTuple):
    """What stands in a capture.

    Attributes:
        report: cpuprobe's own; nothing else counts beside it.
        sightings: what the formats see.
        paste: the text, for what stands around them.
        nothing: why there is nothing in it, for the case that there is not.
    """

    report: Observation | None
    sightings: list[Sighting]
    paste: Paste
    nothing: CaptureError


def see(content: bytes) -> Seen:
    """What the formats of the registry see in the bytes of a capture.

    Raises:
        CaptureError: it is empty, too large, or breaks a bound; one line that says what is wrong.
    """
    if len(content) > MAXIMUM_BYTES:
        raise CaptureError(f"larger than {MAXIMUM_BYTES >> 20} MiB, no capture is")
    if not content.strip():
        raise CaptureError("empty")
    content = texts_of_archive(content) or content
    reports, documents, rest, failure = find_documents(opened_records(decoded(content)))
    nothing = failure or CaptureError(_unknown(documents))
    if reports:
        beside = _seen_by(rows_for(rest, OWN), Paste(clean(rest))) if rest.strip() else []
        return Seen(_one(reports, beside), [], Paste(""), nothing)
    seen, unknown = _in_documents(documents)
    text = clean("\n".join([rest, *unknown]) if unknown else rest)
    del rest  # as large as the file
    if not seen and "{" in text and len(text) <= MAXIMUM_EMBEDDED:
        # What was wrapped in prefixes or a string is a document only now.
        again = embedded_documents(text)
        if again.reports:
            beside = _seen_by(rows_for(again.rest, OWN), Paste(again.rest))
            return Seen(_one(again.reports, beside), [], Paste(""), nothing)
        seen, unknown = _in_documents(again.others)
        text = "\n".join([again.rest, *unknown])
    paste = Paste(text)
    del text
    seen += _seen_by(rows_for(paste.seen), paste)
    if any(each.report is not None for each in seen):
        return Seen(_one([], seen), [], Paste(""), nothing)
    if not any(each.tells_features or each.nothing for each in seen):
        seen += _seen_by(rows_for(paste.seen, FALLBACKS), paste)
    return Seen(None, seen, paste, nothing)


def _one(documents: Sequence[Observation], seen: Sequence[Sighting]) -> Observation:
    """The fullest report, where all that cpuprobe wrote is of one measurement.

    Raises:
        CaptureError: it is of several.
    """
    own = [each.report for row in OWN for each in seen if each.source == row.name]
    first, *others = [*documents, *(report for report in own if report is not None)]
    if any(each != first and _essentials(each) != _essentials(first) for each in others):
        raise CaptureError("holds several different cpuprobe reports: give one")
    return first


def _essentials(report: Observation) -> str:
    """What a screen tells of it; whether wasmtime was asked as well is no difference."""
    from cpuprobe.evidence.share import pack

    return pack(msgspec.structs.replace(report, wasmtime=None))


def _unknown(documents: Sequence[Any]) -> str:
    if not documents:
        return _UNKNOWN
    keys = [key for each in documents if isinstance(each, dict) for key in each]
    named = ", ".join(plain(key)[:30] for key in keys[:5]) or "none"
    return f"JSON of no kind that is known (its keys: {named}); {RUN_INSTEAD}"


def _in_documents(documents: Sequence[Any]) -> tuple[list[Sighting], list[str]]:
    """What is seen in JSON documents; those that are no format's own as text, a line a value."""
    seen: list[Sighting] = []
    unknown: list[str] = []
    for document in documents:
        text = msgspec.json.format(msgspec.json.encode(document), indent=1).decode()
        readers = [row.load().read_document for row in rows_for(text)]
        found: list[Sighting] = []
        for part in parts_of(document):
            for read in readers:
                found = found or (list(read(part)) if read is not None else [])
        seen += found
        unknown += [] if found else [text]
    return seen, unknown


def _seen_by(rows: Iterable[Row], paste: Paste) -> list[Sighting]:
    """What the rows' formats see, each thing once, however often a log repeats it."""
    seen: list[Sighting] = []
    for row in rows:
        last: Sighting | None = None
        for sighting in row.load().read(paste):
            if last is None or replace(sighting, line=last.line) != last:
                seen.append(sighting)
            last = sighting
            if len(seen) > MAXIMUM_SIGHTINGS:
                return seen
    return seen
