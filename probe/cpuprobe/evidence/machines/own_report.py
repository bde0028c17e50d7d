"""cpuprobe's own report, and what cpuprobe-native prints: a file of JSON, or pasted into a text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines.lscpu import Listing
from cpuprobe.evidence.observation import Document, Observation
from cpuprobe.evidence.text.paste import unquoted, without_tags

MAXIMUM_JSON = 8 << 20  # 1,000 CPUs that all differ; decoded it takes up to 30 times as much
MAXIMUM_EMBEDDED = 1 << 20  # an issue on GitHub holds 64 KiB
_MAXIMUM_TRIES = 16
_SCHEMA = "cpuprobe.report/"
_KNOWN_MAJOR = "1"
_START = re.compile(r'\{\s{0,64}"(?:schema|cpuprobe|observation|assessment|lscpu)"\s{0,8}:')
_LISTING = re.compile(rb'\s{0,64}\{\s{0,64}"lscpu"\s{0,8}:')
_REPORT = re.compile(r'\{\s{0,64}"schema"\s{0,8}:\s{0,8}"cpuprobe')

_Type = TypeVar("_Type")


def read_document(content: bytes) -> Observation | Listing:
    """What a file of JSON holds: a report, or what `lscpu -J` prints.

    Raises:
        CaptureError: it is neither; one line that says why.
    """
    if len(content) > MAXIMUM_JSON:
        raise CaptureError(f"larger than {MAXIMUM_JSON >> 20} MiB of JSON, no report is")
    if content.lstrip()[:1] == b"[":
        raise CaptureError("a JSON array, not one report: give its elements one by one")
    try:
        listing = _decode(content, Listing) if _LISTING.match(content) else None
    except CaptureError as error:
        raise CaptureError(f"not the output of lscpu -J: {error}") from None
    if listing is not None:
        return listing
    try:
        document = _decode(content, Document)
    except CaptureError as error:
        raise CaptureError(f"not a cpuprobe report: {error}") from None
    major = document.schema.removeprefix(_SCHEMA).partition(".")[0]
    if not document.schema.startswith(_SCHEMA) or major != _KNOWN_MAJOR:
        raise CaptureError(
            f"schema {document.schema[:60]!r} is not known to this cpuprobe (it reads {_SCHEMA}1)"
        )
    return document.observation


def _decode(content: bytes, kind: type[_Type]) -> _Type:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise CaptureError(" ".join(str(error).split())[:200]) from None
    except RecursionError:
        raise CaptureError("nested too deeply") from None


def embedded_documents(
    text: str,
) -> tuple[list[Observation | Listing], CaptureError | None]:
    """Reports and `lscpu -J` documents inside another text, quoted or wrapped in HTML.

    Args:
        text: one character a byte, as `to_text` makes it.

    Returns:
        The documents, and what is wrong with the first that looks like one and is not.
    """
    failure: CaptureError | None = None
    forms: tuple[Callable[[str], str | None], ...] = (str, unquoted, without_tags)
    for form in forms:
        candidate = form(text) if form is str or len(text) <= MAXIMUM_EMBEDDED else None
        documents: list[Observation | Listing] = []
        for piece in _objects(candidate) if candidate is not None else ():
            try:
                documents.append(read_document(piece.encode("latin-1")))
            except CaptureError as error:
                failure = failure or error
        if documents:
            return documents, None
    return [], failure


def _objects(text: str) -> Iterator[str]:
    """JSON objects that begin with a key of a report or of `lscpu -J`."""
    decoder = json.JSONDecoder()
    position = 0
    for _ in range(_MAXIMUM_TRIES):
        match = _START.search(text, position)
        if match is None:
            return
        start = match.start()
        piece = text[start : start + MAXIMUM_EMBEDDED]
        try:
            end = decoder.raw_decode(piece)[1]
        except (ValueError, RecursionError):
            position = match.end()
            if _REPORT.match(piece):
                yield piece  # cut off or damaged: whoever decodes it says where
            continue
        yield piece[:end]
        position = start + end
