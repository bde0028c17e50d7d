"""The data block of cpuprobe's own reports: Markdown, HTML, mails."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.block import BEGIN, END, opened
from cpuprobe.evidence.machines.documents import MAXIMUM_JSON, read_report
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_BEGIN = re.compile(re.escape(BEGIN.strip("-")))
_MOST_BLOCKS = 64


def _read(paste: Paste) -> Iterator[Sighting]:
    end = END.strip("-")
    for number, match in enumerate(_BEGIN.finditer(paste.text)):
        stop = paste.text.find(end, match.end())
        if stop < 0:
            raise CaptureError("the data block of the report is cut: copy it whole")
        if number == _MOST_BLOCKS:
            return
        body = paste.text[match.end() : stop]
        line = paste.text.count("\n", 0, match.start())
        report = read_report(opened(body, MAXIMUM_JSON))
        yield Sighting(source="data_block", line=line, report=report)


FORMAT = Format(
    title="`cpuprobe report` as Markdown or HTML, whole or its data block alone",
    carries="everything that was measured, outcomes of execution included",
    evidence="all",
    make="cpuprobe report",
    read=_read,
)
