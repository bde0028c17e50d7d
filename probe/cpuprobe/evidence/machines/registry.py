"""The formats that are known, one row each: adding one is a module in formats/ and a row here.

A format is looked at only if a text holds one of its marks, so that a paste costs what it holds.
The order is from the particular to the general: a format takes its lines off those after it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import NamedTuple

from cpuprobe.evidence.machines.sighting import Format


class Row(NamedTuple):
    """A format's name, and literals of which every text of it holds at least one."""

    name: str
    marks: tuple[str, ...]

    def load(self) -> Format:
        """The format's card."""
        module = importlib.import_module(f"cpuprobe.evidence.machines.formats.{self.name}")
        card: Format = module.FORMAT
        return card


ROWS = (
    Row("cpuid_raw", ("eax=0x", "EAX=0x")),
    Row("aida64", ("PUID ", "PUID\t", "cpuid 0", "cpuid 8")),
    Row("libcpuid", ("cpuid[", "_fn")),
    Row("lscpu", (":",)),
    Row("proc_cpuinfo", ("flags", "vendor_id", "processor", "CPU implementer", "cpu\t", "cpu  ")),
    Row("kernel_words", ("Linux ", "vulnerabilities", ": ", "ommand line", "BOOT_IMAGE")),
)
FALLBACKS = ()
"""What is looked for only where none of ROWS saw a feature."""


def rows_for(text: str, rows: tuple[Row, ...] = ROWS) -> Iterator[Row]:
    """The rows one of whose marks is in a text."""
    return (row for row in rows if any(mark in text for mark in row.marks))
