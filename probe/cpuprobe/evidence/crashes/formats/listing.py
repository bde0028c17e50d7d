"""Lines that show code: disassembly of gdb, objdump, lldb, WinDbg, x64dbg, winedbg; rows of memory.

What a mnemonic is, `is_mnemonic` says for x86; other instruction sets show by their own signs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cpuprobe.code.assembly import is_mnemonic
from cpuprobe.evidence.crashes.model import Clue, Crash, Isa, Listed
from cpuprobe.evidence.crashes.rules import number
from cpuprobe.evidence.text.hex import words_to_bytes

SOURCE, DUMP = "listing", "dump"
MAXIMUM_LINES = 4096

_ADDRESS = r"(?:0x)?[0-9a-f]{1,8}(?:[`_]?[0-9a-f]{1,8})?"
# gdb, objdump, lldb, winedbg: marker, address, symbol or offset, colon, and what is there.
_COLON = re.compile(
    rf"^(?P<mark>=>|->|-->|\*|>)?\s{{0,16}}(?:[.\w]{{1,40}}:)??(?P<address>{_ADDRESS})"
    r"(?:\s{0,4}<[^\n]{0,2000}?>|\s{1,4}[^\s:<>]{1,200}\+0x[0-9a-f]{1,16})?\s?:\s{0,16}"
    r"(?P<rest>\S[^\n]{0,400})$",
    re.IGNORECASE,
)
# gdb's `layout asm`: no colon, and bars around that are gone by now.
_LAYOUT = re.compile(
    r"^(?P<mark>>)?\s{0,8}(?P<address>0x[0-9a-f]{4,16}) <[^\n]{1,2000}?\+\d{1,9}>\s{2,400}"
    r"(?P<rest>[a-z][^\n]{0,400}?)\s{0,400}$",
    re.IGNORECASE,
)
# WinDbg, radare2, Ghidra: address, bytes in one word, text.
_WORDS = re.compile(
    r"^(?P<mark>=>|->|-->|\*|>)?\s{0,16}(?:[.\w]{1,40}:)??"
    r"(?P<address>(?:0x)?[0-9a-f]{8}(?:[`_]?[0-9a-f]{8})?)\s{1,8}"
    r"(?P<code>(?:[0-9a-f]{2} ){1,14}[0-9a-f]{2}(?=\s{2})|(?:[0-9a-f]{2}){1,15})\s{1,60}"
    r"(?P<text>[a-z][a-z0-9]{1,15}(?:\s[^\n]{0,300})?|\?\?\?)$",
    re.IGNORECASE,
)
# x64dbg and OllyDbg copies: address | bytes | text |
_BARS = re.compile(
    r"^(?P<mark>=>|->|-->|\*)?\s{0,8}(?P<address>[0-9a-f]{8}(?:[0-9a-f]{8})?)\s{0,4}\|[^|]{0,8}?"
    r"\s{0,4}(?P<code>[0-9a-f]{2}[0-9a-f :]{0,60})\|\s{0,4}(?P<text>[a-z][^|\n]{0,300}?)\s{0,200}"
    r"(?:\|[^\n]{0,400})?$",
    re.IGNORECASE,
)
# Visual Studio: sixteen digits, two blanks, text; radare2 and Cutter: 0x, one blank. `0x... in` is
# a frame of gdb's.
_STUDIO = re.compile(
    r"^(?P<mark>=>|->|-->|>)?\s{0,4}(?P<address>[0-9A-F]{16}\s|0x[0-9a-f]{8,16})\s{1,8}"
    r"(?P<text>(?!in\b)[a-z][a-z0-9]{1,15}(?:\s{1,12}[^\n]{1,200})?)$"
)
# WinDbg's place and row put on one line.
_AT_SYMBOL = re.compile(
    r"^[A-Za-z_][\w.-]{0,99}![^\s:]{1,300}(?::{2}[^\s:]{1,300}){0,8}:\s{1,4}"
    r"(?P<code>(?:[0-9a-f]{2}){1,15})\s{1,16}(?P<text>[a-z][a-z0-9]{1,15}(?:\s[^\n]{0,300})?)$"
)
# gdb's `address number in FILE`, where it has no source to show.
_SOURCE_LINE = re.compile(r"in\s\S*[./]")
_PLACE = re.compile(r"^[A-Za-z_][\w.-]{0,99}[!+][^\n]{1,300}:$")
# Whatever stands behind an address: a row, even one that no form above is of.
_LIKE_A_ROW = re.compile(r"^\s{0,16}(?:0x)?[0-9a-f]{8}(?:`?[0-9a-f]{8})?\s{1,8}\S", re.IGNORECASE)
_BYTES = re.compile(
    r"^((?:(?:0x)?[0-9a-f]{2}\s){0,15}(?:0x)?[0-9a-f]{2})(?:\s+|$)(?![0-9a-f]{2}\b)(.*)$", re.I
)
# xxd and hexdump -C: bytes in their order, and what they spell.
_DUMPED = re.compile(
    r"^(?P<address>[0-9a-f]{8,16})(?:: (?P<pairs>(?:[0-9a-f]{4} ){2,7}[0-9a-f]{2,4})"
    r"|\s{1,2}(?P<bytes>(?:[0-9a-f]{2} {1,2}){3,15}[0-9a-f]{2})(?=\s{1,60}\|))(?:\s.{0,80})?$",
    re.IGNORECASE,
)
_EXAMINED = re.compile(r"^(?:0x[0-9a-f]{1,16}(?:\s{1,8}|$)){1,16}$", re.IGNORECASE)
# A whole instruction as one number, as disassemblers of fixed-width instruction sets print it.
_FIXED = re.compile(
    r"^([0-9a-f]{8}|(?!fadd|fabd)[0-9a-f]{4}(?: [0-9a-f]{4})?)\s+"
    r"((?![0-9a-f]{8}\b)[a-z][a-z0-9.]{0,15}(?!\S).*)$",
    re.I,
)
# The same, of an instruction that binutils and gdb do not know.
_RAW = re.compile(r"^(\.inst)\s+0x([0-9a-f]{8})\b", re.IGNORECASE)
_TEXT = re.compile(r"^(?:\{[a-z0-9]{2,8}\}\s)?([a-z][a-z0-9.]{0,15})(?:\s|$)", re.IGNORECASE)
_PREFIXES = frozenset(
    [
        "lock",
        "rep",
        "repe",
        "repz",
        "repne",
        "repnz",
        "xacquire",
        "xrelease",
        "notrack",
        "bnd",
        "data16",
        "data32",
        "addr32",
        "rex",
        "rex.w",
        "cs",
        "ds",
        "es",
        "fs",
        "gs",
        "ss",
    ]
)
# winedbg's and old gdb's suffixes beside AT&T's own.
_SUFFIXES = ("", "b", "w", "l", "q", "s", "t", "x", "y", "z")
_COMMENT = re.compile(
    r"\s{2,}(?:#|;|//)\s.*$|\s+ss:[0-9a-f`]{8,17}=.*$|\s+[a-z]s:[0-9a-f`:]{8,24}=.*$"
)


def read(lines: Sequence[str]) -> Iterator[Clue]:
    """Each line of disassembly, and each row of memory, in the order of the text."""
    found, last = 0, -1
    for at, line in enumerate(lines):
        if len(line) > 1024:
            continue
        placed = _AT_SYMBOL.match(line) if "!" in line else None
        if placed is not None and instruction(placed["text"]) is not None:
            yield Clue(at, Crash(SOURCE, code=bytes.fromhex(placed["code"])))
        if not _may_show(line):
            continue
        clue = (
            _dumped(line, at)
            or _colon(line, at)
            or _row(lines, at, alone=last != at - 1)
            or _studio(line, at)
        )
        if clue is not None:
            last = at
            found += 1
            if found > MAXIMUM_LINES:
                return
            yield clue


def _may_show(line: str) -> bool:
    start = line.lstrip(" \t=->*")[:2]
    return len(start) == 2 and (start[0] in "0123456789abcdefABCDEF." or start == "0x")


def instruction(text: str) -> str | None:
    """The text without a comment if it is an x86 instruction by its mnemonic, else None.

    Args:
        text: what stands where a disassembler puts the instruction.
    """
    text = _COMMENT.sub("", text).rstrip(" ;")
    words = text.split()
    while len(words) > 1 and (words[0].lower() in _PREFIXES or words[0].startswith("{")):
        words.pop(0)
    return text if words and plain_mnemonic(words[0]) is not None else None


def plain_mnemonic(word: str) -> str | None:
    """The mnemonic as the decoder spells it, without AT&T's or winedbg's suffix; None if none."""
    word = word.lower()
    if is_mnemonic(word):
        return word
    return word[:-1] if len(word) > 2 and word[-1] in _SUFFIXES and is_mnemonic(word[:-1]) else None


def _dumped(line: str, at: int) -> Clue | None:
    match = _DUMPED.match(line)
    if match is None:
        return None
    code = bytes.fromhex(match["pairs"] or match["bytes"])
    return Clue(at, Crash(DUMP), aside=True, memory=((number(match["address"]), code),))


def _colon(line: str, at: int) -> Clue | None:
    match = _COLON.match(line) or _LAYOUT.match(line)
    if match is None:
        return None
    address, rest, marked = number(match["address"]), match["rest"], match["mark"] is not None
    long = len(match["address"]) >= 4 or "<" in line
    if long and _EXAMINED.match(rest) is not None:
        found = words_to_bytes(rest.split(), big=False)
        return (
            None
            if found is None
            else Clue(at, Crash(SOURCE), aside=True, memory=((address, found),))
        )
    bytes_there = _BYTES.match(rest)
    code, text = b"", rest
    if bytes_there is not None and (long or instruction(bytes_there[2]) is not None):
        code, text = bytes.fromhex(bytes_there[1].replace("0x", "")), bytes_there[2].strip()
        if text and _TEXT.match(text) is None:
            text = ""  # a dump's right margin
        if not text and len(code) == 16:  # a row of a dump, whatever its mark
            return Clue(at, Crash(SOURCE), aside=True, memory=((address, code),))
    raw = _RAW.match(rest)
    if raw is not None:
        word = int(raw[2], 16).to_bytes(4, "little")
        return _clue(at, Listed(address, word, f"{raw[1]} 0x{raw[2]}", marked), None)
    fixed = _FIXED.match(rest)
    if not code and fixed is not None:
        return _fixed(at, address, fixed, marked)
    shown = instruction(text) if text else ""
    if shown is None and code and long:
        return _clue(at, Listed(address, code, text, marked), None)
    if shown is None:
        foreign = marked and long and _TEXT.match(text) is not None and _operands(text)
        return _clue(at, Listed(address, b"", text, marked), None) if foreign else None
    if not code and not (marked or "%" in shown or "," in shown or "<" in line):
        return None
    return _clue(at, Listed(address, code, shown, marked), None)


def _operands(text: str) -> bool:
    """Whether what follows a word could be operands rather than a sentence."""
    rest = text.split(None, 1)[1:]
    return not rest or re.match(r"[\w#\[{.]+(?:\s*,|\]|$)", rest[0]) is not None


def _fixed(at: int, address: int, match: re.Match[str], marked: bool) -> Clue:
    """Words of four bytes, and Thumb's of two: the least significant byte is first in memory."""
    code = b"".join(bytes.fromhex(word)[::-1] for word in match[1].split())
    isa: Isa | None = "arm" if len(match[1]) != 8 else None
    return _clue(at, Listed(address, code, match[2].strip(), marked), isa)


def _row(lines: Sequence[str], at: int, *, alone: bool) -> Clue | None:
    """A row of WinDbg and the like; a single one, or the first below its place, is the pc's."""
    bars = _BARS.match(lines[at])
    match = bars or _WORDS.match(lines[at])
    if match is None or _SOURCE_LINE.match(match["text"]) is not None:
        return None
    if " -> " in match["text"]:  # DynamoRIO's, which has rows beside what it cannot read
        return None
    try:
        code = bytes.fromhex(re.sub(r"[\s:]", "", match["code"]))
    except ValueError:
        return None
    unknown = match["text"] == "???"  # a byte of what that debugger cannot decode
    text = "" if unknown else instruction(match["text"].strip())
    if text is None or not code or len(code) > 15:
        return None
    marked = match["mark"] is not None
    if bars is None and alone and not marked:
        around = [*lines[max(at - 1, 0) : at], *lines[at + 1 : at + 2]]
        among = any(_LIKE_A_ROW.match(each) for each in around)
        marked = not among or (at > 0 and _PLACE.match(lines[at - 1]) is not None)
    return _clue(at, Listed(number(match["address"]), code, text, marked), None)


def _studio(line: str, at: int) -> Clue | None:
    match = _STUDIO.match(line)
    text = None if match is None else instruction(match["text"].strip())
    if match is None or text is None:
        return None
    marked = match["mark"] is not None
    return _clue(at, Listed(number(match["address"]), b"", text, marked), None)


def _clue(at: int, listed: Listed, isa: Isa | None) -> Clue:
    address = listed.address if listed.marked else None
    return Clue(
        at, Crash(SOURCE, isa=isa, address=address), aside=not listed.marked, listed=(listed,)
    )
