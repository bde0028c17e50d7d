"""The share code: the essentials of an observation as one short word that survives any paste.

    cpuprobe1:<base64, wrapped at will>.

Base64 of a CRC-16 and of raw deflate, with the frozen dictionary of profiles/share.toml, of a
MessagePack array (`_Code`): the observation without what is long, and that packed.
  - CPUID: the leaves that hold features, without registers in which there are none, and the range
    maxima. A leaf that is not in a code was not recorded, and what it would say is unknown.
  - The kernel's flags: a bit a word of the frozen list `words`; others are spelt out.
  - Outcomes: two bits a row of the frozen list `candidates`, a row for each set of features; others
    are spelt out.
The frozen lists only ever grow at their ends, so that every code means for ever what it meant: a
feature that is younger than a code has no candidate in it and is `unverified` or `unknown`, and
what is younger than its reader is left out. Another layout gets another digit after the name.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.observation import (
    Candidate,
    Cpuinfo,
    Observation,
    Outcome,
)
from cpuprobe.evidence.packed_cpuid import leaves, packed_leaves
from cpuprobe.evidence.shapes import FeatureName, Mnemonic
from cpuprobe.facts.isa import facts_of
from cpuprobe.facts.tables import load_table

BEGIN = "cpuprobe1:"
END = "."
_MAXIMUM = 1 << 18  # bytes of an unpacked code; a machine whose 64 CPUs all differ has 30 KB
_ROWS: tuple[Outcome | None, ...] = (None, "ok", "sigill", "skipped")
_GDS = "gather_data_sampling"
_FIELDS = (
    *("vendor_id", "cpu family", "model", "model name", "stepping", "microcode"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision"),
)


class _Code(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is deflated: the observation without its lists, and those."""

    rest: Observation
    cpuid: tuple[bytes, ...]
    ran: tuple[bytes, ...]
    flags: tuple[bytes, ...]
    words: tuple[str, ...]
    spelt: tuple[tuple[Mnemonic, tuple[FeatureName, ...], tuple[Outcome, ...]], ...]


class _Spelt(msgspec.Struct, frozen=True):
    """Candidates by name, as what is not in the frozen list."""

    name: str
    features: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    before: tuple[Outcome | None, ...]


def pack(observation: Observation) -> str:
    """The share code of an observation, without line ends."""
    table = load_table("share")
    rows = _rows()
    kept = _kept(observation, {(row.name, row.features) for row in rows})
    packed = {each.name: each for each in kept if _packs(each, rows)}
    spelt = [each for each in kept if each.name not in packed]
    names = {each.name for each in kept}
    blocks = observation.cpuinfo or ()
    words = {word: place for place, word in enumerate(table["words"])}
    key = facts_of(observation.isa).list_key
    code = _Code(
        rest=_rest(observation, names),
        cpuid=tuple(packed_leaves(group) for group in observation.groups),
        ran=tuple(
            _packed_outcomes([packed.get(row.name) for row in rows], at)
            for at in range(len(observation.groups) if packed else 0)
        ),
        flags=tuple(_packed_flags(block.fields.get(key, ""), words) for block in blocks),
        words=tuple(
            " ".join(w for w in block.fields.get(key, "").split() if w not in words)
            for block in blocks
        ),
        spelt=tuple((each.name, each.features, each.outcomes) for each in spelt),
    )
    content = msgspec.msgpack.encode(code)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, _dictionary())
    short = deflate.compress(content) + deflate.flush()
    checked = struct.pack("<H", binascii.crc_hqx(short, 0)) + short
    return BEGIN + base64.b64encode(checked).decode().rstrip("=") + END


def unpack(code: str) -> Observation:
    """The observation of a share code, or of what a paste made of it.

    Args:
        code: from its beginning to its end, line ends and blanks anywhere in it.

    Raises:
        CaptureError: it is damaged, cut, too large, or no observation.
    """
    text = re.sub(r"\s+", "", code).removeprefix(BEGIN).removesuffix(END)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise CaptureError("the share code is damaged: copy it whole") from None
    if len(raw) < 3 or struct.unpack("<H", raw[:2])[0] != binascii.crc_hqx(raw[2:], 0):
        raise CaptureError("the share code is damaged or cut: copy it whole")
    inflate = zlib.decompressobj(-15, _dictionary())
    try:
        content = inflate.decompress(raw[2:], _MAXIMUM)
        if not inflate.eof:
            raise CaptureError("the share code is larger than any machine's")
        read = msgspec.msgpack.decode(content, type=_Code)
        return _observation(read)
    except (zlib.error, msgspec.DecodeError, ValueError, IndexError, struct.error) as error:
        words = " ".join(str(error).split())[:120]
        raise CaptureError(f"the share code holds no observation: {words}") from None


def _dictionary() -> bytes:
    return base64.b64decode(load_table("share")["dictionary"])


def _rows() -> list[Candidate]:
    """The frozen candidates, `name: feature feature`."""
    parted = (row.rpartition(": ") for row in load_table("share")["candidates"])
    return [Candidate(name, tuple(features.split())) for name, _, features in parted]


# --- candidates ---


def _kept(observation: Observation, rows: set[tuple[str, tuple[str, ...]]]) -> list[_Spelt]:
    """One candidate for each set of features and way to end; those of the frozen list first.

    One that was skipped says nothing where another shows that the set runs, or that its only
    feature does not.
    """
    found: dict[tuple[object, ...], _Spelt] = {}
    told: set[tuple[str, ...]] = set()
    for at, each in enumerate(observation.candidates):
        outcomes = tuple(group.ran[at] for group in observation.groups)
        before = tuple(g.ran_before_permission.get(each.name) for g in observation.groups)
        key = (*each.features, outcomes, before)
        if key not in found or (each.name, each.features) in rows:
            found[key] = _Spelt(each.name, each.features, outcomes, before)
        if set(outcomes) == {"ok"} or (set(outcomes) != {"skipped"} and len(each.features) == 1):
            told.add(each.features)
    return [e for e in found.values() if set(e.outcomes) != {"skipped"} or e.features not in told]


def _packs(each: _Spelt, rows: Iterable[Candidate]) -> bool:
    known = any(row.name == each.name and row.features == each.features for row in rows)
    return known and all(outcome in _ROWS for outcome in each.outcomes)


def _packed_outcomes(listed: Sequence[_Spelt | None], group: int) -> bytes:
    found = bytearray(-(-len(listed) // 4))
    for at, each in enumerate(listed):
        place = 0 if each is None else _ROWS.index(each.outcomes[group])
        found[at // 4] |= place << 2 * (at % 4)
    return bytes(found).rstrip(b"\0")


def _outcomes(packed: bytes, at: int) -> Outcome | None:
    return _ROWS[packed[at // 4] >> 2 * (at % 4) & 3] if at // 4 < len(packed) else None


# --- the kernel's flags ---


def _packed_flags(flags: str, words: Mapping[str, int]) -> bytes:
    mask = sum({1 << words[w] for w in flags.split() if w in words})
    return mask.to_bytes(-(-mask.bit_length() // 8), "little")


def _flags(packed: bytes, spelt: str) -> str:
    mask = int.from_bytes(packed, "little")
    words = load_table("share")["words"]
    return " ".join([*(w for at, w in enumerate(words) if mask >> at & 1), *spelt.split()])


# --- the rest ---


def _rest(observation: Observation, names: set[str]) -> Observation:
    """Without what is packed, and without what only tells how candidates died."""
    told = any(group.cpuid for group in observation.groups)
    groups = tuple(
        msgspec.structs.replace(
            group,
            cpuid=(),
            ran=(),
            ran_before_permission={
                key: value for key, value in group.ran_before_permission.items() if key in names
            },
            faults={},
            wrong={key: value[:64] for key, value in group.wrong.items() if key in names},
        )
        for group in observation.groups
    )
    fields = [key for key in _FIELDS if key != "model name" or not told]
    listed = facts_of(observation.isa).list_key
    blocks = observation.cpuinfo
    if blocks is not None:
        blocks = tuple(
            Cpuinfo(
                block.cpus,
                {key: block.fields[key] for key in fields if key in block.fields}
                | {key: "" for key in (listed,) if key in block.fields},
                block.incomplete,
            )
            for block in blocks
        )
    return msgspec.structs.replace(
        observation,
        groups=groups,
        candidates=(),
        cpuinfo=blocks,
        vulnerabilities=_vulnerabilities(observation),
        executions=(observation.ran_on_each or None) if observation.executed else None,
    )


def _vulnerabilities(observation: Observation) -> dict[str, str]:
    """The one that a cause is argued from; of others the first word.

    That they are there tells a kernel's age where its release is not known.
    """
    told = observation.vulnerabilities
    if observation.kernel.release is not None:
        return {key: value for key, value in told.items() if key == _GDS}
    return {k: v if k == _GDS else v.partition(":")[0] for k, v in told.items()}


def _observation(code: _Code) -> Observation:
    rest, rows = code.rest, _rows()
    packed = [
        row
        for at, row in enumerate(rows)
        if any(_outcomes(each, at) is not None for each in code.ran)
    ]
    places = [rows.index(row) for row in packed]
    spelt = [Candidate(name, features) for name, features, _ in code.spelt]
    groups = tuple(
        msgspec.structs.replace(
            group,
            cpuid=tuple(leaves(code.cpuid[number])),
            ran=(
                *(_outcomes(code.ran[number], at) or "skipped" for at in places),
                *(outcomes[number] for _, _, outcomes in code.spelt),
            ),
        )
        for number, group in enumerate(rest.groups)
    )
    blocks, listed = rest.cpuinfo, facts_of(rest.isa).list_key
    if blocks is not None:
        blocks = tuple(
            Cpuinfo(
                block.cpus,
                {
                    key: _flags(code.flags[at], code.words[at]) if key == listed else value
                    for key, value in block.fields.items()
                },
                block.incomplete,
            )
            for at, block in enumerate(blocks)
        )
    return Observation(
        **{
            **{name: getattr(rest, name) for name in rest.__struct_fields__},
            "groups": groups,
            "candidates": (*packed, *spelt),
            "cpuinfo": blocks,
            "executions": (rest.executions or 0) if rest.executed else None,
        }
    )
