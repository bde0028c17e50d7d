"""Bytes -> instructions, with what the decoder alone does not know.

The decoder is asked first; what it does not take is looked up among the newer instructions, and
then among the encodings that no CPU takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from cpuprobe.code.decode import MAXIMUM_INSTRUCTIONS, Decoded, decode
from cpuprobe.code.invalid import Invalid, invalid
from cpuprobe.code.newer import as_legacy, newer
from cpuprobe.facts.features import load_features

LONGEST = 15
_OF_APX = ("apxf",)


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
        if not sequence or one.decoded.kind in ("undecodable", "incomplete"):
            break
    return tuple(found)


def _one(code: bytes, registers: Mapping[str, int], bits: int) -> Instruction:
    decoded = decode(code, registers=registers, bits=bits)[0]
    unnamed = decoded.features == _OF_APX and not decoded.mnemonic
    if bits != 64 or not (unnamed or decoded.kind == "undecodable"):
        return Instruction(decoded)
    found = newer(code)
    if found is not None:
        mnemonic = found.mnemonic or _promoted(code)
        known = all(name in load_features() for name in found.features)
        return Instruction(
            Decoded(
                code[: found.length],
                "feature" if known else "unknown",
                mnemonic=mnemonic.upper(),
                intel=mnemonic,
                att=mnemonic,
                features=found.features,
                other=tuple(name for name in found.features if name not in load_features()),
            )
        )
    offence = None if unnamed else invalid(code)
    if offence is None:
        return Instruction(decoded)
    return Instruction(
        replace(offence.meant, kind="always-invalid", features=(), other=()), offence
    )


def _promoted(code: bytes) -> str:
    legacy = as_legacy(code)
    return "" if legacy is None else decode(legacy)[0].mnemonic.lower()
