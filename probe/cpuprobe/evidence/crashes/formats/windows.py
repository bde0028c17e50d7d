"""Windows Error Reporting, the event log as text and XML, crash reporters of games.

Field names stand in the language of the system: English, German, French and Spanish are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from cpuprobe.evidence.crashes.model import Clue, Crash
from cpuprobe.evidence.crashes.rules import number, rule
from cpuprobe.evidence.crashes.status import signal_of
from cpuprobe.words import base_name

SOURCE = "Windows error report"

_CODE = r"(?P<signal>(?:0x)?[8c]0[0-9a-f]{6})\b"
RULES = (
    rule(
        "application name:",
        r"\b(?:Faulting )?application name:\s{0,8}(?P<program>[^,\n]{1,100})",
        begins=True,
        aside=True,
        system="windows",
    ),
    rule(
        "module name:",
        r"\b(?:Fault(?:ing)? )?module name:\s{0,8}(?P<module>[^,\n]{1,100})",
        aside=True,
        system="windows",
        origin="image",
    ),
    rule("exception code:", rf"\bException code:\s{{0,8}}{_CODE}", system="windows"),
    rule(
        "offset:",
        r"\b(?:Exception|Fault) offset:\s{0,8}(?P<offset>(?:0x)?[0-9a-f]{1,16})\b",
        aside=True,
        system="windows",
        origin="image",
    ),
    rule(
        "process id:",
        r"\bFaulting process id:\s{0,8}(?P<hexpid>0x[0-9a-f]{1,8})",
        aside=True,
        system="windows",
    ),
    rule(
        "anwendung:",
        r"\bName der fehlerhaften Anwendung:\s{0,8}(?P<program>[^,\n]{1,100})",
        begins=True,
        aside=True,
        system="windows",
    ),
    rule(
        "moduls:",
        r"\bName des fehlerhaften Moduls:\s{0,8}(?P<module>[^,\n]{1,100})",
        aside=True,
        system="windows",
        origin="image",
    ),
    rule("ausnahmecode:", rf"\bAusnahmecode:\s{{0,8}}{_CODE}", system="windows"),
    rule(
        "fehleroffset:",
        r"\b(?:Fehleroffset|Ausnahmeoffset):\s{0,8}(?P<offset>(?:0x)?[0-9a-f]{1,16})\b",
        aside=True,
        system="windows",
        origin="image",
    ),
    rule(
        "application d",
        r"\bNom de l.application d.faillante\s{0,2}:?\s{0,8}(?P<program>[^,\n]{1,100})",
        begins=True,
        aside=True,
        system="windows",
    ),
    rule(
        "module d",
        r"\bNom du module d.{1,8}faillant\s{0,2}:\s{0,8}(?P<module>[^,\n]{1,100})",
        aside=True,
        system="windows",
        origin="image",
    ),
    rule("code d", rf"\bCode d.exception\s{{0,2}}:\s{{0,8}}{_CODE}", system="windows"),
    rule(
        "aplicaci",
        r"\bNombre de la aplicaci.{1,2}n con errores:\s{0,8}(?P<program>[^,\n]{1,100})",
        begins=True,
        aside=True,
        system="windows",
    ),
    rule(
        "dulo con errores",
        r"\bNombre del m.{1,2}dulo con errores:\s{0,8}(?P<module>[^,\n]{1,100})",
        aside=True,
        system="windows",
        origin="image",
    ),
    rule(
        "digo de excepci",
        rf"\bC.{{1,2}}digo de excepci.{{1,2}}n:\s{{0,8}}{_CODE}",
        system="windows",
    ),
    # .NET's entry in the event log
    rule(
        "exception code ",
        rf"\bexception code {_CODE}(?:, exception address (?P<ip>(?:0x)?[0-9a-f]{{8,16}}))?",
        system="windows",
    ),
    rule(
        "windows fatal exception",
        r"\bWindows fatal exception: (?:code )?(?P<signal>0x[0-9a-f]{8}|[a-z ]{4,40}$)",
        system="windows",
    ),
    # Report.wer
    rule(
        "sig[",
        r"\bSig\[0\]\.Value=(?P<program>[^\n]{1,100})",
        begins=True,
        aside=True,
        system="windows",
    ),
    rule(
        "sig[",
        r"\bSig\[3\]\.Value=(?P<module>[^\n]{1,100})",
        aside=True,
        system="windows",
        origin="image",
    ),
    rule("sig[", rf"\bSig\[6\]\.Value={_CODE}", system="windows"),
    rule(
        "sig[",
        r"\bSig\[7\]\.Value=(?P<offset>[0-9a-f]{1,16})\b",
        aside=True,
        system="windows",
        origin="image",
    ),
)

GAMES = "crash reporter"
GAME_RULES = (
    rule(
        "fault address:",
        r"\bFault address:\s{1,4}(?P<ip>[0-9a-f]{8,16}) [0-9a-f]{2}:[0-9a-f]{8,16} "
        r"(?P<module>\S[^\n]{1,300})",
        begins=True,
        system="windows",
    ),
    rule(
        "fault code bytes:",
        r"^\W{0,4}Fault code bytes:\s{1,4}(?P<code>[0-9a-f]{2}(?: [0-9a-f]{2}){1,63})",
        system="windows",
    ),
)
_ADDRESS = re.compile(r"\bFault address:\s{1,4}([0-9a-f]{8,16}) [0-9a-f]{2}:", re.IGNORECASE)
_EVENT = re.compile(r"<Data(?: Name=[\"'](\w{1,40})[\"'])?>([^<>]{0,300})</Data>", re.IGNORECASE)
# Event 1000 of "Application Error": its values in their order, and since Windows 10 by name.
_ORDER = ("program", "", "", "module", "", "", "signal", "offset", "pid")
_BY_NAME = {
    "appname": "program",
    "modulename": "module",
    "exceptioncode": "signal",
    "faultingoffset": "offset",
    "faultoffset": "offset",
    "processid": "pid",
}


def read(lines: Sequence[str]) -> Iterator[Clue]:
    """The values of an event in XML; a 32-bit address in a game's report."""
    values: list[tuple[str, str]] = []
    start = 0
    for at, line in enumerate(lines):
        address = _ADDRESS.search(line)
        if address is not None and len(address[1]) == 8:
            yield Clue(at, Crash(GAMES, isa="i386"), aside=True)
        if "<" in line:
            found = _EVENT.findall(line)
            if found and not values:
                start = at
            values += found[:64]
        if "</EventData>" in line or len(values) > 64:
            if values:
                yield from _event(start, values)
            values = []
    if values:
        yield from _event(start, values)


def _event(at: int, values: list[tuple[str, str]]) -> Iterator[Clue]:
    told: dict[str, Any] = {}
    for place, (name, value) in enumerate(values):
        key = _BY_NAME.get(name.lower(), "") if name else _ORDER[place] if place < 9 else ""
        if not key or not value:
            continue
        if key in ("program", "module"):
            told[key] = base_name(value)
        elif key == "signal":
            told[key] = signal_of(value)
        elif re.fullmatch(r"(?:0x)?[0-9a-fA-F]{1,16}", value) is not None:
            told[key] = number(value)
    if told.get("signal") is not None:
        yield Clue(at, Crash(SOURCE, system="windows", origin="image", **told), begins=True)
