"""The instructions of a crash: from its bytes, or from the line that a disassembler wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cpuprobe.code import a64
from cpuprobe.code.assembly import read_line
from cpuprobe.code.decode import MAXIMUM_INSTRUCTIONS, Decoded
from cpuprobe.code.instructions import Instruction, instructions
from cpuprobe.code.newer import features_of
from cpuprobe.crash.model import Shown
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.crashes.formats.listing import plain_mnemonic
from cpuprobe.evidence.crashes.isa import X86
from cpuprobe.evidence.crashes.model import Crash


class Read(NamedTuple):
    """What the crash executed.

    Attributes:
        shown: the instructions, none where nothing is known.
        found: the same with what is invalid about them.
        ways: other encodings of the line.
        cut: bytes of an instruction that ends outside of the code.
    """

    shown: tuple[Shown, ...] = ()
    found: tuple[Instruction, ...] = ()
    ways: tuple[Shown, ...] = ()
    cut: int = 0


def read(crash: Crash) -> Read:
    """The instructions of a crash.

    Raises:
        CannotMeasureError: iced-x86 is not installed.
    """
    isa = crash.isa or "x86-64"
    if isa not in X86:
        return _foreign(crash)
    if crash.code:
        return _of_bytes(crash, 32 if isa == "i386" else 64)
    if crash.text:
        lines = crash.text.split("\n")
        read = [(line, of_text(line, crash.registers)) for line in lines]
        shown = tuple(Shown(ways[0], line) for line, ways in read if ways)
        others = tuple(Shown(way, crash.text) for way in read[0][1][1:] if len(lines) == 1)
        return Read(shown, tuple(Instruction(each.decoded) for each in shown), others)
    return Read()


def _of_bytes(crash: Crash, bits: int) -> Read:
    registers = {} if crash.sequence else crash.registers
    found = instructions(crash.code, sequence=crash.sequence, registers=registers, bits=bits)
    if found[0].decoded.kind == "incomplete" and not crash.sequence:
        # A record that ends early shows enough for the name: Valgrind prints a few bytes only.
        longer = instructions(crash.code + bytes(15), bits=bits)[0]
        if longer.decoded.mnemonic and len(crash.code) >= _TELLING:
            return Read((Shown(_cut(longer.decoded, crash.code)),), (longer,))
    cut = 0
    if len(found) > 1 and found[-1].decoded.kind == "incomplete":
        cut = len(found[-1].decoded.code)
        found = found[:-1]
    return Read(tuple(Shown(each.decoded) for each in found), found, (), cut)


# Prefix, map, opcode and ModRM.
_TELLING = 4


def _cut(decoded: Decoded, code: bytes) -> Decoded:
    mnemonic = decoded.mnemonic.lower()
    return Decoded(
        code,
        decoded.kind,
        mnemonic=decoded.mnemonic,
        intel=f"{mnemonic} ...",
        att=f"{mnemonic} ...",
        features=decoded.features,
        other=decoded.other,
        alignment=decoded.alignment,
    )


def of_text(text: str, registers: Mapping[str, int]) -> tuple[Decoded, ...]:
    """What an assembler line can mean; nothing if it is no x86 instruction that is known.

    Args:
        text: one line of a disassembler.
        registers: their values, by lower-case name, for the address of an operand in memory.
    """
    mnemonic, *operands = text.split(None, 1)
    plain = plain_mnemonic(mnemonic)
    # winedbg's and old gdb's suffixes
    stripped = [] if plain in (None, mnemonic.lower()) else [" ".join([plain or "", *operands])]
    for each in [text, *stripped]:
        try:
            return read_line(each, registers)
        except CaptureError:
            continue
    features = features_of(mnemonic)
    return (_named(mnemonic, features, text),) if features else ()


def _named(mnemonic: str, features: tuple[str, ...], text: str) -> Decoded:
    return Decoded(
        b"", "unknown", mnemonic.upper(), intel=text, att=text, features=features, other=features
    )


def _foreign(crash: Crash) -> Read:
    """Another instruction set's: its words as they are, and what AArch64's need."""
    if not crash.code and not crash.text:
        return Read()
    text = " ".join(crash.text.split("\n")[0].split())
    if crash.isa != "aarch64":
        decoded = [Decoded(crash.code[:4], "unknown", intel=text, att=text)]
    elif crash.sequence and not text:
        ends = range(0, min(len(crash.code), 4 * MAXIMUM_INSTRUCTIONS), 4)
        decoded = [a64.decode(crash.code[at : at + 4]) for at in ends]
    elif crash.sequence and not crash.code:
        decoded = [a64.decode(b"", line) for line in crash.text.split("\n")]
    else:
        decoded = [a64.decode(crash.code, text)]
    shown = tuple(Shown(each, each.att if crash.sequence else text) for each in decoded)
    return Read(shown, tuple(map(Instruction, decoded)))
