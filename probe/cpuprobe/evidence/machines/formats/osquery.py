"""osquery's table `cpuid`: a feature, its bit's value and its register, as a table and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.names import claims_of_names
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_SOURCE = "osquery"
_ROW = re.compile(r"^\W{0,4}([a-z][a-z0-9.]{1,15})[\s|]{1,40}([01])[\s|]{1,40}e[abcd]x[\s|]")
# Its keys in any order, in one line or one a line.
_RECORD = re.compile(r"\{[^{}]{1,300}\"output_register\"[^{}]{1,300}\}")
_FEATURE = re.compile(r"\"feature\": ?\"([a-z][a-z0-9.]{1,15})\"")
_VALUE = re.compile(r"\"value\": ?\"([01])\"")


def _read(paste: Paste) -> Iterator[Sighting]:
    told = [(number, match[1], match[2]) for number, match in paste.matches(_ROW)]
    for record in _RECORD.finditer(paste.text):
        feature, value = _FEATURE.search(record[0]), _VALUE.search(record[0])
        if feature is not None and value is not None:
            told.append((paste.text.count("\n", 0, record.start()), feature[1], value[1]))
    yes, no = ([name for _, name, bit in told if bit == wanted] for wanted in "10")
    claims = claims_of_names(_SOURCE, "cpuid", yes, no)
    if claims.yes:  # early versions printed 0 for each
        yield Sighting(source=_SOURCE, line=told[0][0], claims=(claims,))


FORMAT = Format(
    title="osquery: the table cpuid, as text and as JSON",
    carries="CPUID by name, both ways, of the bits that it has",
    evidence="names",
    make="osqueryi 'select * from cpuid'",
    read=_read,
)
