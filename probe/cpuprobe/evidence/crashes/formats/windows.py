"""Windows Error Reporting, the event log as text and XML, crash reporters of games.

Field names stand in the language of the system.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from cpuprobe.evidence.crashes.model import Clue, Crash
from cpuprobe.evidence.crashes.rules import Rule, number, rule
from cpuprobe.evidence.crashes.status import signal_of
from cpuprobe.words import base_name

SOURCE = "Windows error report"

_CODE = (
    r"(?P<signal>(?:0x)?[8c]0[0-9a-f]{6})\b"
    r"(?:[,;] {0,2}(?:error|fault|exception) offset:? {0,2}(?P<offset>(?:0x)?[0-9a-f]{1,16})\b)?"
)
# How Windows says it, of the event and of the window: a colon that stands here has to be there.
_PROGRAM = """
application name:|Anwendungsname:|Name der fehlerhaften Anwendung:|Nom de l'application:
Nom de l'application défaillante|Nombre de la aplicación:|Nombre de la aplicación con errores:
Nome applicazione:|Nome dell'applicazione che ha generato l'errore:|Nome do Aplicativo:
Nome do aplicativo com falha:|Nazwa aplikacji:|Nazwa aplikacji powodującej błąd:
Naam van toepassing met fout:|Název aplikace:|Název chybující aplikace:
Имя приложения:|Имя сбойного приложения:|Имя ошибочного приложения:
应用程序名:|应用程序名称:|應用程式名稱:
アプリケーション名:|응용 프로그램 이름:
"""
_MODULE = """
module name:|Fehlermodulname:|Name des fehlerhaften Moduls:|Nom du module par défaut:
Nom du module défaillant|Nombre del módulo con errores:|Nome modulo con errori:
Nome del modulo che ha generato l'errore:|Nome do Módulo de Falhas:|Nome do módulo com falha:
Nazwa modułu z błędem:|Nazwa modułu powodującego błąd:|Naam van module met fout:
Název chybného modulu:|Název chybujícího modulu:|Имя модуля с ошибкой:
Имя сбойного модуля:|Имя ошибочного модуля:|模块名称:|模組名稱:|モジュール名:|모듈 이름:
"""  # noqa: RUF001
_EXCEPTION = """
Exception code:|Ausnahmecode:|Code d'exception|Code de l'exception|Código de excepción:
Codice eccezione:|Código de Exceção:|Kod wyjątku:|Uitzonderingscode:|Kód výjimky:
Код исключения:|异常代码:|例外狀況代碼:|例外コード:|예외 코드:
"""
_OFFSET = """
Exception offset:|Fault offset:|Error offset:|Fehleroffset:|Ausnahmeoffset:
Décalage d'erreur|Décalage du défaut
Décalage de l'exception|Desplazamiento de errores:|Desplazamiento de excepción:|Offset errore
Offset eccezione:|Deslocamento da falha:|Deslocamento de Exceção:|Przesunięcie błędu:
Przesunięcie wyjątku:|Foutmarge:|Posun chyby:|Posun výjimky:|Смещение ошибки:|Смещение исключения:
错误偏移量:|错误偏移:|故障偏移量:|故障偏移:|异常偏移:|錯誤位移:|例外狀況位移:
障害オフセット:|例外オフセット:|오류 오프셋:|예외 오프셋:
"""
_VALUES = {
    "program": r"(?P<program>[^,\u3001\uff0c\n]{1,100})",
    "module": r"(?P<module>[^,\u3001\uff0c\n]{1,100})",
    "signal": _CODE,
    "offset": r"(?P<offset>(?:0x)?[0-9a-f]{1,16})\b",
}
# Letters that come in two parts or as two others, after a copy through an old code page.
_ACCENTED = re.compile("[À-ɏ]")


def _names(kind: str, phrases: str, **tells: Any) -> Iterator[Rule]:
    """A rule for each phrase that is the name of a field."""
    for phrase in phrases.strip().replace("\n", "|").split("|"):
        words = re.escape(phrase.rstrip(":")).replace("'", ".")
        colon = r"\s{0,2}[:\uff1a]\s{0,8}" if phrase.endswith(":") else r"\s{0,2}[:\uff1a]?\s{0,8}"
        needs = max(re.split("['À-ɏ]", phrase.rstrip(":")), key=len)
        pattern = _ACCENTED.sub(".{1,2}", words) + colon + _VALUES[kind]
        yield rule(needs.lower(), pattern, system="windows", **tells)


RULES = (
    *_names("program", _PROGRAM, begins=True, aside=True),
    *_names("module", _MODULE, aside=True, origin="image"),
    *_names("signal", _EXCEPTION),
    *_names("offset", _OFFSET, aside=True, origin="image"),
    rule(
        "process id:",
        r"\bFaulting process id:\s{0,8}(?P<hexpid>0x[0-9a-f]{1,8})",
        aside=True,
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
    # Geode, a loader of mods
    rule(
        "exception address:",
        r"\bException Address: (?P<ip>(?:0x)?[0-9a-f]{8,16}) \((?P<module>[^()+\n]{1,120}?) ?\+ ?"
        r"(?P<offset>(?:0x)?[0-9a-f]{1,16})\)",
        system="windows",
        origin="image",
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
