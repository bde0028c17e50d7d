"""Bytes -> instructions, with what the decoder alone does not know.

The decoder is asked first; what it does not take is looked up among the newer instructions, and
then among the encodings that no CPU takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from cpuprobe.code.apx import promoted
from cpuprobe.code.decode import MAXIMUM_INSTRUCTIONS, Decoded, decode
from cpuprobe.code.encoding import fields
from cpuprobe.code.invalid import Invalid, invalid
from cpuprobe.code.newer import newer
from cpuprobe.facts.features import load_features

LONGEST = 15
# What is chosen further behind: VEX, EVEX, XOP and REX2, and 3DNow!, whose opcode comes last.
_OPEN = frozenset({(0, 0x62), (0, 0x8F), (0, 0xC4), (0, 0xC5), (0, 0xD5), (1, 0x0F)})


class Instruction(NamedTuple):
    """One instruction, and why it is invalid where it is by its encoding."""

    decoded: Decoded
    offence: Invalid | None = None


def instructions(
    code: bytes,
    *,
    sequence: bool = False,
    registers: Mapping[str, int] | None = None,
    bits: int = 64,
) -> tuple[Instruction, ...]:
    """The instructions at the start of `code`, as `decode` gives them, and no fewer.

    The arguments are those of `code.decode.decode`.

    Raises:
        CannotMeasureError: iced-x86 is not installed.
    """
    found: list[Instruction] = []
    at = 0
    while at < len(code) and len(found) < MAXIMUM_INSTRUCTIONS:
        one = _one(code[at : at + LONGEST], registers or {}, bits)
        found.append(one)
        at += len(one.decoded.code)
        lost = one.offence is not None and one.offence.reason == "64-bit mode"  # as is its length
        if not sequence or lost or one.decoded.kind in ("undecodable", "incomplete"):
            break
    return tuple(found)


def _one(code: bytes, registers: Mapping[str, int], bits: int) -> Instruction:
    decoded = decode(code, registers=registers, bits=bits)[0]
    if bits != 64 or decoded.kind not in ("undecodable", "incomplete"):
        return Instruction(decoded)
    found = newer(code) or promoted(code)
    if found is not None:
        known = all(name in load_features() for name in found.features)
        return Instruction(
            Decoded(
                code[: found.length],
                "feature" if known else "unknown",
                mnemonic=found.mnemonic.upper(),
                intel=found.mnemonic,
                att=found.mnemonic,
                features=found.features,
                other=tuple(name for name in found.features if name not in load_features()),
            )
        )
    if decoded.kind == "incomplete":
        if _goes_on(code):
            return Instruction(decoded)
        decoded = replace(decoded, kind="undecodable")
    offence = invalid(code)
    if offence is None:
        return Instruction(decoded)
    return Instruction(
        replace(offence.meant, kind="always-invalid", features=(), other=()), offence
    )


def _goes_on(code: bytes) -> bool:
    """Whether any byte behind `code` makes it an instruction.

    The decoder wants a ModRM of opcodes, too, that are none.
    """
    found = fields(code)
    if found is None or found.kind != "legacy" or (found.map, found.opcode) in _OPEN:
        return True
    longer = (code + bytes([byte]) + bytes(LONGEST) for byte in range(256))
    return any(
        decode(each[:LONGEST])[0].kind not in ("undecodable", "incomplete") or newer(each)
        for each in longer
    )
