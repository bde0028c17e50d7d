"""APX: what its prefixes make of instructions that are older (Intel document 355828, chapter 3).

The decoder (iced-x86 1.21) knows neither REX2 nor what APX adds to EVEX: map 4, and bits for
sixteen more general registers in the other maps. The same instruction without them tells length and
name, and what it needs beside APX.
"""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.code.decode import Decoded, decode
from cpuprobe.code.encoding import LEGACY_PREFIXES, Fields, end_of_operands, fields
from cpuprobe.code.newer import Newer, newer

_APX = ("apxf",)
# Instructions of VEX that APX gives an EVEX form of its own.
# fmt: off
_OF_VEX = frozenset([
    "andn", "bextr", "blsi", "blsmsk", "blsr", "bzhi", "mulx", "pdep", "pext", "rorx", "sarx",
    "shlx", "shrx", "kmovb", "kmovw", "kmovd", "kmovq", "ldtilecfg", "sttilecfg", "tileloadd",
    "tileloaddt1", "tilestored", "tileloaddrs", "tileloaddrst1", "urdmsr", "uwrmsr",
])
# fmt: on
# Opcodes of map 4 that are no legacy map's with the same number: by mandatory prefix (0 none, 1 66,
# 2 F3, 3 F2), else for all of them; the name and what it needs.
# fmt: off
_MAP4: dict[tuple[int, int | None], tuple[str, tuple[str, ...]]] = {
    (0x38, None): ("ccmp", ()), (0x39, None): ("ccmp", ()),
    (0x3A, None): ("ccmp", ()), (0x3B, None): ("ccmp", ()),
    (0x60, None): ("movbe", ("movbe",)), (0x61, None): ("movbe", ("movbe",)),
    (0x65, None): ("wruss", ("shstk",)),
    (0x66, 0): ("wrss", ("shstk",)), (0x66, 1): ("adcx", ("adx",)), (0x66, 2): ("adox", ("adx",)),
    (0x84, None): ("ctest", ()), (0x85, None): ("ctest", ()),
    (0x88, None): ("popcnt", ("popcnt",)),
    (0x8A, None): ("movrs", ("movrs",)), (0x8B, None): ("movrs", ("movrs",)),
    (0xD4, None): ("sha1rnds4", ("sha",)), (0xD8, None): ("sha1nexte", ("sha",)),
    (0xF0, 2): ("invept", ()), (0xF0, None): ("crc32", ("sse4.2",)),
    (0xF1, 2): ("invvpid", ()), (0xF1, None): ("crc32", ("sse4.2",)),
    (0xF2, 2): ("invpcid", ()),
    (0xF4, None): ("tzcnt", ("bmi",)), (0xF5, None): ("lzcnt", ("lzcnt",)),
    (0xF8, 1): ("movdir64b", ("movdir64b",)),
    (0xF8, 2): ("enqcmds", ("enqcmd",)), (0xF8, 3): ("enqcmd", ("enqcmd",)),
    (0xF9, None): ("movdiri", ("movdiri",)),
    (0xFC, None): ("aadd", ("raoint",)),
}
# The same with a register in ModRM.
_OF_REGISTER = {(0xF8, 2): ("uwrmsr", ("usermsr",)), (0xF8, 3): ("urdmsr", ("usermsr",))}
# fmt: on


def promoted(code: bytes) -> Newer | None:
    """The instruction at the start of 64-bit code, if APX's prefixes are its first; else None."""
    if _has_rex2(code):
        return _rex2(code)
    found = fields(code)
    if found is None or found.kind != "evex" or set(found.prefixes) - {0x67, 0x64, 0x65}:
        return None
    if found.map == 4:
        return _map4(code, found)
    for plain, shorter in _plain(code, found):
        old = _old(plain)
        if old is not None:
            return Newer(old.length + shorter, old.mnemonic, (*_APX, *old.features))
    return None


def _has_rex2(code: bytes) -> bool:
    at = 0
    while at < len(code) and code[at] in LEGACY_PREFIXES:
        at += 1
    return code[at : at + 1] == b"\xd5" and len(code) >= at + 3


def _rex2(code: bytes) -> Newer | None:
    """After D5 the payload's bit 7 selects the 0F map, and its low bits are REX's."""
    at = code.index(b"\xd5")
    payload = code[at + 1]
    if payload == 0 and code[at + 2] == 0xA1:
        return Newer(at + 11, "jmpabs", _APX) if len(code) >= at + 11 else None
    rex = bytes([0x40 | payload & 0xF, *([0x0F] if payload & 0x80 else [])])
    old = _decoded(code[:at] + rex + code[at + 2 :])
    if old is None:
        return None
    length = len(old.code) + 2 - len(rex)
    return Newer(length, old.mnemonic.lower(), (*_APX, *old.features))


def _plain(code: bytes, found: Fields) -> Iterator[tuple[bytes, int]]:
    """The instruction without what APX adds to EVEX, and in VEX: with how much shorter that is."""
    at = found.start
    first, second, third = code[at + 1 : at + 4]
    if found.extended:
        head = bytes([0x62, first & ~8, second | 4, third])
        yield code[:at] + head + code[at + 4 :], 0
    if found.map in (1, 2, 3, 7) and third & 0xE0 == 0:  # of 128 bits, and nothing is masked
        vex = bytes([0xC4, first & 0xE0 | found.map, second & 0xF8 | second & 3])
        yield code[:at] + vex + code[at + 4 :], 1


def _old(code: bytes) -> Newer | None:
    """What the decoder or the rows know of it; of VEX only what APX has an EVEX form of."""
    one = _decoded(code)
    found = newer(code) if one is None else None
    if one is not None:
        found = Newer(len(one.code), one.mnemonic.lower(), one.features)
    if found is None or code[:1] == b"\x62":
        return found
    conditional = found.mnemonic.startswith("cmp") and found.mnemonic.endswith("xadd")
    return found if conditional or found.mnemonic in _OF_VEX else None


def _decoded(code: bytes) -> Decoded | None:
    one = decode(code)[0]
    return None if one.kind in ("undecodable", "incomplete") else one


def _map4(code: bytes, found: Fields) -> Newer | None:
    """Instructions of the legacy maps with three operands, without flags, or with a condition."""
    end = end_of_operands(code, found)
    behind = _behind(found)
    if end is None or found.modrm is None or end + behind > len(code):
        return None
    name, features = _name(code, found)
    return Newer(end + behind, name, (*_APX, *features))


def _behind(found: Fields) -> int:
    """How many bytes of an immediate follow."""
    size = 2 if found.pp == 1 else 4
    one = {0x6B, 0x80, 0x83, 0xC0, 0xC1, 0x24, 0x2C, 0xD4}
    behind = 1 if found.opcode in one else size if found.opcode in (0x69, 0x81, 0xC7) else 0
    if found.opcode in (0xF6, 0xF7) and found.modrm is not None and found.modrm >> 3 & 7 < 2:
        behind = 1 if found.opcode == 0xF6 else size
    if found.opcode == 0xF8 and not found.of_memory:
        behind = 0
    return behind


def _name(code: bytes, found: Fields) -> tuple[str, tuple[str, ...]]:
    where = (found.opcode, found.pp)
    if not found.of_memory and where in _OF_REGISTER:
        return _OF_REGISTER[where]
    known = _MAP4.get(where) or _MAP4.get((found.opcode, None))
    if known is not None:
        return known
    third = code[found.start + 3]
    condition = found.opcode >> 4 == 4
    digit = (found.modrm or 0) >> 3 & 7
    legacy = _legacy(code, found)
    if condition and found.pp == 3:
        legacy = b"\x0f" + bytes([0x90 | found.opcode & 15]) + code[found.at :]
    old = _decoded(legacy)
    name = "" if old is None else old.mnemonic.lower()
    if condition and found.pp != 3 and (third & 4 or not third & 16):
        name = f"cf{name}"
    elif found.opcode in (0x80, 0x81, 0x83) and digit == 7:
        name = "ccmp"
    elif found.opcode in (0xF6, 0xF7) and digit < 2:
        name = "ctest"
    elif found.opcode in (0x8F, 0xFF) and name in ("push", "pop"):
        name += "2"
    return name, ()


def _legacy(code: bytes, found: Fields) -> bytes:
    """The legacy instruction that an EVEX map 4 encoding promotes, to learn its name from."""
    rex = b"\x48" if found.w else b""
    prefix = b"\x66" if found.pp == 1 else b""
    of_0f = found.opcode in (0x24, 0x2C, 0xA5, 0xAD, 0xAF) or found.opcode >> 4 == 4
    opcode = {0x24: 0xA4, 0x2C: 0xAC}.get(found.opcode, found.opcode)
    escape = b"\x0f" if of_0f else b""
    return prefix + rex + escape + bytes([opcode]) + code[found.at :]
