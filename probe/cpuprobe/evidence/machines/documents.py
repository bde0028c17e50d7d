"""JSON in a capture: cpuprobe's own reports, what cpuprobe-native prints, and other programs' data.

A document is the whole file, or stands in another text: an issue, a mail, a web page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import msgspec

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.observation import Document, Observation
from cpuprobe.evidence.text.decode import plain_characters
from cpuprobe.evidence.text.markup import without_entities, without_tags
from cpuprobe.evidence.text.prefixes import without_quotes

MAXIMUM_JSON = 8 << 20  # 1,000 CPUs that all differ; decoded it takes up to 30 times as much
MAXIMUM_EMBEDDED = 1 << 20  # an issue on GitHub holds 64 KiB
MAXIMUM_OTHER = 2 << 20  # lscpu -J and the like
_MAXIMUM_TRIES = 16
_MAXIMUM_PARTS = 256
_SCHEMA = "cpuprobe.report/"
_KNOWN_MAJOR = "1"
# A prompt (`[root@box ~]#`) and the kernel's log (`[    0.000000]`) begin with a bracket too.
_WHOLE = re.compile(r'\s*(?:\{|\[\s*(?:[{\]"]|\[[\s\[{"\]]))')
_START = re.compile(
    r'\{\s{0,64}"(?:schema|cpuprobe|observation|assessment|lscpu)"\s{0,8}:'
    r'|(?:^|\n)[ \t]{0,40}\{(?=\s{0,64}")'
)
_PATTERN = re.compile(r"Expected `str` matching regex '.*'(?= - at )")
_OWN = re.compile(r'\s{0,64}\{\s{0,64}"(?:schema|cpuprobe|observation|assessment)"\s{0,8}:')
_REPORT = re.compile(r'\{\s{0,64}"schema"\s{0,8}:\s{0,8}"cpuprobe')

_Type = TypeVar("_Type")


class Found(NamedTuple):
    """What JSON a text holds.

    Attributes:
        reports: cpuprobe's own.
        others: other documents, decoded.
        rest: the text without all of them.
        failure: what is wrong with the first that looks like a report but is not one.
    """

    reports: list[Observation]
    others: list[Any]
    rest: str
    failure: CaptureError | None


def find_documents(text: str) -> Found:
    """The JSON documents of a decoded text."""
    if "{" not in text and not _WHOLE.match(text):
        return Found([], [], text, None)
    failure: CaptureError | None = None
    if _WHOLE.match(text):
        try:
            return _whole(text)
        except CaptureError as error:
            failure = error  # or a text that begins with JSON
    rest = text
    forms: tuple[Callable[[str], str], ...] = (str, _without_quotes, _without_html)
    for form in forms:
        if form is not str and len(text) > MAXIMUM_EMBEDDED:
            break
        found = embedded_documents(form(text))
        if found.reports or (found.others and form is str):
            return found._replace(failure=failure or found.failure)
        rest = found.rest if form is str else rest
        failure = failure or found.failure
    return Found([], [], rest, failure)


def _without_quotes(text: str) -> str:
    return without_quotes(plain_characters(text))


def _without_html(text: str) -> str:
    return without_entities(without_tags(text))


def _whole(text: str) -> Found:
    content = text.encode("utf-8", "surrogatepass")
    if len(content) > MAXIMUM_JSON:
        raise CaptureError(f"larger than {MAXIMUM_JSON >> 20} MiB of JSON, no report is")
    if _OWN.match(text) or len(content) > MAXIMUM_OTHER:  # typed, it takes a part of the memory
        return Found([read_report(content)], [], "", None)
    array = content.lstrip()[:1] == b"["
    try:
        document = _decode(content, object)
    except CaptureError as error:
        kind = "a JSON array that cannot be read" if array else "not a cpuprobe report"
        raise CaptureError(f"{kind}: {error}") from None
    if isinstance(document, dict) and ("schema" in document or "observation" in document):
        return Found([read_report(content)], [], "", None)
    if isinstance(document, list) and not _telling(document):
        raise CaptureError("a JSON array, not one report: give its elements one by one")
    return Found([], [document], "", None)


def _telling(elements: list[Any]) -> bool:
    """Whether an array may be one machine's data: objects that are no reports."""
    return bool(elements) and all(
        isinstance(each, dict) and "observation" not in each for each in elements
    )


def read_report(content: bytes) -> Observation:
    """What a report of cpuprobe holds.

    Raises:
        CaptureError: it is not a report; one line that says why.
    """
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
        # msgspec shows the whole pattern, which helps nobody who reads the line.
        words = _PATTERN.sub("a text that no such place may hold", " ".join(str(error).split()))
        raise CaptureError(words[:200]) from None
    except RecursionError:
        raise CaptureError("nested too deeply") from None


def embedded_documents(text: str) -> Found:
    """Documents inside another text, which is left with empty lines in their places.

    Raises:
        CaptureError: what should be a whole report of cpuprobe is not: the text around it
            is about it.
    """
    reports: list[Observation] = []
    others: list[Any] = []
    failure: CaptureError | None = None
    rest = text
    for start, end, whole in _objects(text):
        piece = text[start:end].encode("utf-8", "surrogatepass")
        try:
            document = _decode(piece, object) if whole else {"schema": ""}
            if isinstance(document, dict) and ("schema" in document or "observation" in document):
                reports.append(read_report(piece))
                continue
            others.append(document)
        except CaptureError as error:
            if whole and _REPORT.match(text, start):
                raise
            failure = failure or error
        # What stands in a document is no line of the text around it, be the document bad.
        rest = rest.replace(text[start:end], "\n" * text.count("\n", start, end), 1)
    return Found(reports, others, rest, failure)


def _objects(text: str) -> Iterator[tuple[int, int, bool]]:
    """Where JSON objects stand, and whether each is whole; a cut report's end is the text's."""
    decoder = json.JSONDecoder()
    position = 0
    for _ in range(_MAXIMUM_TRIES):
        match = _START.search(text, position)
        if match is None:
            return
        start = text.index("{", match.start())
        piece = text[start : start + MAXIMUM_EMBEDDED]
        try:
            end = decoder.raw_decode(piece)[1]
        except (ValueError, RecursionError):
            position = match.end()
            if _REPORT.match(piece):
                yield start, start + len(piece), False  # whoever decodes it says where it ends
            continue
        yield start, start + end, True
        position = start + end


def parts_of(document: object) -> Iterator[object]:
    """A document, then the objects in it, from the outside in; a string may hold one too."""
    waiting = [document]
    for _ in range(_MAXIMUM_PARTS):
        if not waiting:
            return
        part = waiting.pop(0)
        if isinstance(part, str) and part.lstrip()[:1] == "{" and len(part) <= MAXIMUM_EMBEDDED:
            try:
                part = _decode(part.encode("utf-8", "surrogatepass"), object)
            except CaptureError:
                continue
        if isinstance(part, (dict, list)):
            yield part
            inner = part.values() if isinstance(part, dict) else part
            waiting += [each for each in inner if isinstance(each, (dict, list, str))][
                :_MAXIMUM_PARTS
            ]
