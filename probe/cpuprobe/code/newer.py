"""Instructions that came after the decoder (iced-x86 1.21, January 2024), told by rows of our own.

Sources: Intel 319433-057 (ISA Extensions Programming Reference), 361050 (AVX10.2). APX's: apx.py.
A row reads as the manual's: encoding, vector length, mandatory prefix, map and W, the opcode, what
ModRM must be, and the bytes behind it.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from cpuprobe.code.encoding import end_of_operands, fields

_AVX10_2 = ("avx10.2",)
# fmt: off
_ROWS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    # mnemonic         encoding                             features
    ("movrs",          "NP.0F38 8A mem",                    ("movrs",)),
    ("movrs",          "NP.0F38 8B mem",                    ("movrs",)),
    ("movrs",          "66.0F38 8B mem",                    ("movrs",)),
    ("urdmsr",         "F2.0F38 F8 reg",                    ("usermsr",)),
    ("uwrmsr",         "F3.0F38 F8 reg",                    ("usermsr",)),
    ("urdmsr",         "VEX.128.F2.MAP7.W0 F8 reg id",      ("usermsr",)),
    ("uwrmsr",         "VEX.128.F3.MAP7.W0 F8 reg id",      ("usermsr",)),
    ("tmmultf32ps",    "VEX.128.66.0F38.W0 48 reg",         ("amx-tf32",)),
    ("tdpbf8ps",       "VEX.128.NP.MAP5.W0 FD reg",         ("amx-fp8",)),
    ("tdpbhf8ps",      "VEX.128.F2.MAP5.W0 FD reg",         ("amx-fp8",)),
    ("tdphbf8ps",      "VEX.128.F3.MAP5.W0 FD reg",         ("amx-fp8",)),
    ("tdphf8ps",       "VEX.128.66.MAP5.W0 FD reg",         ("amx-fp8",)),
    ("tileloaddrs",    "VEX.128.F2.0F38.W0 4A mem",         ("amx-movrs",)),
    ("tileloaddrst1",  "VEX.128.66.0F38.W0 4A mem",         ("amx-movrs",)),
    ("tcvtrowd2ps",    "EVEX.512.F3.0F38.W0 4A reg",        ("amx-avx512",)),
    ("tcvtrowd2ps",    "EVEX.512.F3.0F3A.W0 07 reg ib",     ("amx-avx512",)),
    ("tilemovrow",     "EVEX.512.66.0F38.W0 4A reg",        ("amx-avx512",)),
    ("tilemovrow",     "EVEX.512.66.0F3A.W0 07 reg ib",     ("amx-avx512",)),
    ("tcvtrowps2bf16h", "EVEX.512.F2.0F38.W0 6D reg",       ("amx-avx512",)),
    ("tcvtrowps2bf16h", "EVEX.512.F2.0F3A.W0 07 reg ib",    ("amx-avx512",)),
    ("tcvtrowps2bf16l", "EVEX.512.F3.0F38.W0 6D reg",       ("amx-avx512",)),
    ("tcvtrowps2bf16l", "EVEX.512.F3.0F3A.W0 77 reg ib",    ("amx-avx512",)),
    ("tcvtrowps2phh",  "EVEX.512.NP.0F38.W0 6D reg",        ("amx-avx512",)),
    ("tcvtrowps2phh",  "EVEX.512.NP.0F3A.W0 07 reg ib",     ("amx-avx512",)),
    ("tcvtrowps2phl",  "EVEX.512.66.0F38.W0 6D reg",        ("amx-avx512",)),
    ("tcvtrowps2phl",  "EVEX.512.F2.0F3A.W0 77 reg ib",     ("amx-avx512",)),
    ("vmovrsb",        "EVEX.F2.MAP5.W0 6F mem",            ("movrs", "avx10.2")),
    ("vmovrsw",        "EVEX.F2.MAP5.W1 6F mem",            ("movrs", "avx10.2")),
    ("vmovrsd",        "EVEX.F3.MAP5.W0 6F mem",            ("movrs", "avx10.2")),
    ("vmovrsq",        "EVEX.F3.MAP5.W1 6F mem",            ("movrs", "avx10.2")),
    # AVX10.2: BF16 arithmetic
    ("vaddbf16",       "EVEX.66.MAP5.W0 58",                _AVX10_2),
    ("vmulbf16",       "EVEX.66.MAP5.W0 59",                _AVX10_2),
    ("vsubbf16",       "EVEX.66.MAP5.W0 5C",                _AVX10_2),
    ("vminbf16",       "EVEX.66.MAP5.W0 5D",                _AVX10_2),
    ("vdivbf16",       "EVEX.66.MAP5.W0 5E",                _AVX10_2),
    ("vmaxbf16",       "EVEX.66.MAP5.W0 5F",                _AVX10_2),
    ("vsqrtbf16",      "EVEX.66.MAP5.W0 51",                _AVX10_2),
    ("vcomisbf16",     "EVEX.66.MAP5.W0 2F",                _AVX10_2),
    ("vcmpbf16",       "EVEX.F2.0F3A.W0 C2 ib",             _AVX10_2),
    ("vfpclassbf16",   "EVEX.F2.0F3A.W0 66 ib",             _AVX10_2),
    ("vgetmantbf16",   "EVEX.F2.0F3A.W0 26 ib",             _AVX10_2),
    ("vreducebf16",    "EVEX.F2.0F3A.W0 56 ib",             _AVX10_2),
    ("vrndscalebf16",  "EVEX.F2.0F3A.W0 08 ib",             _AVX10_2),
    ("vgetexpbf16",    "EVEX.NP.MAP6.W0 42",                _AVX10_2),
    ("vscalefbf16",    "EVEX.NP.MAP6.W0 2C",                _AVX10_2),
    ("vrcpbf16",       "EVEX.NP.MAP6.W0 4C",                _AVX10_2),
    ("vrsqrtbf16",     "EVEX.NP.MAP6.W0 4E",                _AVX10_2),
    ("vfmadd132bf16",  "EVEX.NP.MAP6.W0 98",                _AVX10_2),
    ("vfmadd213bf16",  "EVEX.NP.MAP6.W0 A8",                _AVX10_2),
    ("vfmadd231bf16",  "EVEX.NP.MAP6.W0 B8",                _AVX10_2),
    ("vfmsub132bf16",  "EVEX.NP.MAP6.W0 9A",                _AVX10_2),
    ("vfmsub213bf16",  "EVEX.NP.MAP6.W0 AA",                _AVX10_2),
    ("vfmsub231bf16",  "EVEX.NP.MAP6.W0 BA",                _AVX10_2),
    ("vfnmadd132bf16", "EVEX.NP.MAP6.W0 9C",                _AVX10_2),
    ("vfnmadd213bf16", "EVEX.NP.MAP6.W0 AC",                _AVX10_2),
    ("vfnmadd231bf16", "EVEX.NP.MAP6.W0 BC",                _AVX10_2),
    ("vfnmsub132bf16", "EVEX.NP.MAP6.W0 9E",                _AVX10_2),
    ("vfnmsub213bf16", "EVEX.NP.MAP6.W0 AE",                _AVX10_2),
    ("vfnmsub231bf16", "EVEX.NP.MAP6.W0 BE",                _AVX10_2),
    # comparisons, minimum and maximum
    ("vcomxsd",        "EVEX.F2.0F.W1 2F",                  _AVX10_2),
    ("vcomxss",        "EVEX.F3.0F.W0 2F",                  _AVX10_2),
    ("vcomxsh",        "EVEX.F3.MAP5.W0 2F",                _AVX10_2),
    ("vucomxsd",       "EVEX.F2.0F.W1 2E",                  _AVX10_2),
    ("vucomxss",       "EVEX.F3.0F.W0 2E",                  _AVX10_2),
    ("vucomxsh",       "EVEX.F3.MAP5.W0 2E",                _AVX10_2),
    ("vminmaxps",      "EVEX.66.0F3A.W0 52 ib",             _AVX10_2),
    ("vminmaxpd",      "EVEX.66.0F3A.W1 52 ib",             _AVX10_2),
    ("vminmaxph",      "EVEX.NP.0F3A.W0 52 ib",             _AVX10_2),
    ("vminmaxbf16",    "EVEX.F2.0F3A.W0 52 ib",             _AVX10_2),
    ("vminmaxss",      "EVEX.66.0F3A.W0 53 ib",             _AVX10_2),
    ("vminmaxsd",      "EVEX.66.0F3A.W1 53 ib",             _AVX10_2),
    ("vminmaxsh",      "EVEX.NP.0F3A.W0 53 ib",             _AVX10_2),
    # conversions
    ("vcvt2ps2phx",    "EVEX.66.0F38.W0 67",                _AVX10_2),
    ("vcvtbiasph2bf8", "EVEX.NP.0F38.W0 74",                _AVX10_2),
    ("vcvtbiasph2bf8s", "EVEX.NP.MAP5.W0 74",               _AVX10_2),
    ("vcvtbiasph2hf8", "EVEX.NP.MAP5.W0 18",                _AVX10_2),
    ("vcvtbiasph2hf8s", "EVEX.NP.MAP5.W0 1B",               _AVX10_2),
    ("vcvt2ph2bf8",    "EVEX.F2.0F38.W0 74",                _AVX10_2),
    ("vcvt2ph2bf8s",   "EVEX.F2.MAP5.W0 74",                _AVX10_2),
    ("vcvt2ph2hf8",    "EVEX.F2.MAP5.W0 18",                _AVX10_2),
    ("vcvt2ph2hf8s",   "EVEX.F2.MAP5.W0 1B",                _AVX10_2),
    ("vcvtph2bf8",     "EVEX.F3.0F38.W0 74",                _AVX10_2),
    ("vcvtph2bf8s",    "EVEX.F3.MAP5.W0 74",                _AVX10_2),
    ("vcvtph2hf8",     "EVEX.F3.MAP5.W0 18",                _AVX10_2),
    ("vcvtph2hf8s",    "EVEX.F3.MAP5.W0 1B",                _AVX10_2),
    ("vcvthf82ph",     "EVEX.F2.MAP5.W0 1E",                _AVX10_2),
    ("vcvttbf162ibs",  "EVEX.F2.MAP5.W0 68",                _AVX10_2),
    ("vcvtbf162ibs",   "EVEX.F2.MAP5.W0 69",                _AVX10_2),
    ("vcvttbf162iubs", "EVEX.F2.MAP5.W0 6A",                _AVX10_2),
    ("vcvtbf162iubs",  "EVEX.F2.MAP5.W0 6B",                _AVX10_2),
    ("vcvttph2ibs",    "EVEX.NP.MAP5.W0 68",                _AVX10_2),
    ("vcvtph2ibs",     "EVEX.NP.MAP5.W0 69",                _AVX10_2),
    ("vcvttph2iubs",   "EVEX.NP.MAP5.W0 6A",                _AVX10_2),
    ("vcvtph2iubs",    "EVEX.NP.MAP5.W0 6B",                _AVX10_2),
    ("vcvttps2ibs",    "EVEX.66.MAP5.W0 68",                _AVX10_2),
    ("vcvtps2ibs",     "EVEX.66.MAP5.W0 69",                _AVX10_2),
    ("vcvttps2iubs",   "EVEX.66.MAP5.W0 6A",                _AVX10_2),
    ("vcvtps2iubs",    "EVEX.66.MAP5.W0 6B",                _AVX10_2),
    ("vcvttps2udqs",   "EVEX.NP.MAP5.W0 6C",                _AVX10_2),
    ("vcvttpd2udqs",   "EVEX.NP.MAP5.W1 6C",                _AVX10_2),
    ("vcvttps2uqqs",   "EVEX.66.MAP5.W0 6C",                _AVX10_2),
    ("vcvttpd2uqqs",   "EVEX.66.MAP5.W1 6C",                _AVX10_2),
    ("vcvttps2dqs",    "EVEX.NP.MAP5.W0 6D",                _AVX10_2),
    ("vcvttpd2dqs",    "EVEX.NP.MAP5.W1 6D",                _AVX10_2),
    ("vcvttps2qqs",    "EVEX.66.MAP5.W0 6D",                _AVX10_2),
    ("vcvttpd2qqs",    "EVEX.66.MAP5.W1 6D",                _AVX10_2),
    ("vcvttss2usis",   "EVEX.F3.MAP5 6C",                   _AVX10_2),
    ("vcvttsd2usis",   "EVEX.F2.MAP5 6C",                   _AVX10_2),
    ("vcvttss2sis",    "EVEX.F3.MAP5 6D",                   _AVX10_2),
    ("vcvttsd2sis",    "EVEX.F2.MAP5 6D",                   _AVX10_2),
    # media and dot products that were VEX alone
    ("vdpphps",        "EVEX.NP.0F38.W0 52",                _AVX10_2),
    ("vmpsadbw",       "EVEX.F3.0F3A.W0 42 ib",             _AVX10_2),
    ("vpdpbuud",       "EVEX.NP.0F38.W0 50",                _AVX10_2),
    ("vpdpbuuds",      "EVEX.NP.0F38.W0 51",                _AVX10_2),
    ("vpdpbsud",       "EVEX.F3.0F38.W0 50",                _AVX10_2),
    ("vpdpbsuds",      "EVEX.F3.0F38.W0 51",                _AVX10_2),
    ("vpdpbssd",       "EVEX.F2.0F38.W0 50",                _AVX10_2),
    ("vpdpbssds",      "EVEX.F2.0F38.W0 51",                _AVX10_2),
    ("vpdpwuud",       "EVEX.NP.0F38.W0 D2",                _AVX10_2),
    ("vpdpwuuds",      "EVEX.NP.0F38.W0 D3",                _AVX10_2),
    ("vpdpwusd",       "EVEX.66.0F38.W0 D2",                _AVX10_2),
    ("vpdpwusds",      "EVEX.66.0F38.W0 D3",                _AVX10_2),
    ("vpdpwsud",       "EVEX.F3.0F38.W0 D2",                _AVX10_2),
    ("vpdpwsuds",      "EVEX.F3.0F38.W0 D3",                _AVX10_2),
    ("vmovd",          "EVEX.128.F3.0F.W0 7E",              _AVX10_2),
    ("vmovd",          "EVEX.128.66.0F.W0 D6",              _AVX10_2),
    ("vmovw",          "EVEX.128.F3.MAP5.W0 6E",            _AVX10_2),
    ("vmovw",          "EVEX.128.F3.MAP5.W0 7E",            _AVX10_2),
    ("vsm4key4",       "EVEX.F3.0F38.W0 DA",                ("sm4", "avx10.2")),
    ("vsm4rnds4",      "EVEX.F2.0F38.W0 DA",                ("sm4", "avx10.2")),
)
# fmt: on
_PP = {"NP": 0, "66": 1, "F3": 2, "F2": 3}
_MAPS = {"0F": 1, "0F38": 2, "0F3A": 3, "MAP5": 5, "MAP6": 6, "MAP7": 7}
_LENGTHS = {"128": 0, "256": 1, "512": 2}
_BEHIND = {"ib": 1, "id": 4}


class Newer(NamedTuple):
    """An instruction of the rows: how long it is, its name, and what it needs."""

    length: int
    mnemonic: str
    features: tuple[str, ...]


class Row(NamedTuple):
    """One row: how the instruction is encoded, and what it needs; None where any will do."""

    mnemonic: str
    features: tuple[str, ...]
    kind: str
    map: int
    pp: int
    opcode: int
    length: int | None
    w: int | None
    of_memory: bool | None
    behind: int


@functools.cache
def rows() -> tuple[Row, ...]:
    """All rows, in their order."""
    return tuple(_row(mnemonic, text, features) for mnemonic, text, features in _ROWS)


def _row(mnemonic: str, text: str, features: tuple[str, ...]) -> Row:
    encoding, opcode, *more = text.split()
    words = encoding.split(".")
    kind = words[0].lower() if words[0] in ("VEX", "EVEX") else "legacy"
    return Row(
        mnemonic,
        features,
        kind,
        next(_MAPS[word] for word in words if word in _MAPS),
        next(_PP[word] for word in words if word in _PP),
        int(opcode, 16),
        next((_LENGTHS[word] for word in words if word in _LENGTHS), None),
        next((int(word[1]) for word in words if word in ("W0", "W1")), None),
        True if "mem" in more else False if "reg" in more else None,
        sum(_BEHIND.get(word, 0) for word in more),
    )


@functools.cache
def _by_opcode() -> dict[tuple[str, int, int, int], list[Row]]:
    found: dict[tuple[str, int, int, int], list[Row]] = {}
    for row in rows():
        found.setdefault((row.kind, row.map, row.pp, row.opcode), []).append(row)
    return found


def newer(code: bytes) -> Newer | None:
    """The instruction at the start of 64-bit code, if it is one of the rows; else None.

    Asked only of what the decoder does not know.
    """
    found = fields(code)
    if found is None:
        return None
    if found.kind != "legacy" and (found.prefixes and set(found.prefixes) - {0x67, 0x64, 0x65}):
        return None
    for row in _by_opcode().get((found.kind, found.map, found.pp, found.opcode), ()):
        if row.length not in (None, found.length) or row.w not in (None, found.w):
            continue
        if row.of_memory in (None, found.of_memory):
            end = end_of_operands(code, found)
            if end is not None and end + row.behind <= len(code):
                more = ("apxf",) if found.extended else ()
                return Newer(end + row.behind, row.mnemonic, (*more, *row.features))
    return None


@functools.cache
def _by_mnemonic() -> dict[str, tuple[str, ...]]:
    return {mnemonic: features for mnemonic, _, features in _ROWS}


def features_of(mnemonic: str) -> tuple[str, ...]:
    """What an instruction of the rows needs, by its name in a listing; nothing if it has no row.

    Asked of names that the decoder does not know.
    """
    return _by_mnemonic().get(mnemonic.lower(), ())
