"""Reads a capture of any known kind.

Bounds: no more than MAXIMUM_BYTES of a file are ever read, every line is read once by expressions
that cannot backtrack far, and CPUs, leaves and lines are counted (text.py, dump.py). JSON is
validated against the types of `cpuprobe.evidence.observation` as it is decoded.
"""

from __future__ import annotations

import os
import re

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines.combine import read_lines
from cpuprobe.evidence.machines.lscpu import Listing
from cpuprobe.evidence.machines.own_report import embedded_documents, read_document
from cpuprobe.evidence.observation import Observation
from cpuprobe.evidence.text.paste import to_text, without_tags
from cpuprobe.files import read_bounded

MAXIMUM_BYTES = 64 << 20
# A prompt (`[root@box ~]#`) and the kernel's log (`[    0.000000]`) begin with a bracket too.
_JSON = re.compile(r'\s*(?:\{|\[\s*[\[{\]"])')
_UNKNOWN = (
    "no capture of a known kind (cpuprobe report, cpuid -r, AIDA64, libcpuid, /proc/cpuinfo, lscpu)"
)


def read_capture(path: str | os.PathLike[str]) -> Observation:
    """Reads a capture.

    Args:
        path: the file; `-` is standard input.

    Returns:
        What was measured on that machine.

    Raises:
        CaptureError: it cannot be read, is too large, or is no capture.

    Example:
        >>> read_capture("/dev/zero")
        Traceback (most recent call last):
        ...
        cpuprobe.errors.CaptureError: /dev/zero: not a regular file
    """
    name, content = read_bounded(path, MAXIMUM_BYTES, ", no capture is")
    try:
        return parse_capture(content)
    except CaptureError as error:
        raise CaptureError(f"{name}: {error}") from None


def parse_capture(content: bytes) -> Observation:
    """The observation in the bytes of a capture, whose kind shows by its content.

    Known are cpuprobe's report, `cpuid -r`, dumps of AIDA64 and of libcpuid, /proc/cpuinfo, lscpu
    as text and as JSON, each alone or inside another text: an issue, a mail, a web page.

    Raises:
        CaptureError: the bytes are no capture; one line that says what is wrong.
    """
    if len(content) > MAXIMUM_BYTES:
        raise CaptureError(f"larger than {MAXIMUM_BYTES >> 20} MiB, no capture is")
    if not content.strip():
        raise CaptureError("empty")
    text = to_text(content)
    failure: CaptureError | None = None
    documents: list[Observation | Listing] = []
    if _JSON.match(text):
        try:
            documents.append(read_document(text.encode("latin-1")))
        except CaptureError as error:
            failure = error  # or a text that begins with JSON
    if not documents:
        documents, damaged = embedded_documents(text)
        failure = failure or damaged
    reports = [each for each in documents if isinstance(each, Observation)]
    if reports:
        if any(each != reports[0] for each in reports):
            raise CaptureError("holds several different cpuprobe reports: give one")
        return reports[0]
    plain = without_tags(text)
    observation = read_lines(
        text if plain is None else plain,
        [each for each in documents if isinstance(each, Listing)],
    )
    if observation is None:
        raise failure or CaptureError(_UNKNOWN)
    return observation
