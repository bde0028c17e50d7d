"""A capture's bytes to what a fleet keeps of the machine. Pure; other processes run it."""

from __future__ import annotations

import hashlib
import re
from decimal import Decimal
from typing import NamedTuple, get_args

import msgspec

from cpuprobe.assessment import Assessment, assess
from cpuprobe.assessment.model import State
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.evidence.machines.read import UnjudgedError
from cpuprobe.evidence.observation import Observation
from cpuprobe.facts import isa as isas
from cpuprobe.facts.hypervisors import hypervisor_called
from cpuprobe.facts.isa import IsaFacts
from cpuprobe.facts.wasmtime import lookup
from cpuprobe.fleet.model import Skipped
from cpuprobe.fleet.piece import Piece, label_of
from cpuprobe.fleet.weights import to_weight
from cpuprobe.words import plain

UNDECIDED = "undecided"
"""The level of a machine of which too little is told to say one."""

STATES: tuple[str, ...] = get_args(State)

_MAXIMUM_TEXT = 200
_STATE_NUMBER = {state: number for number, state in enumerate(STATES)}
_NOTHING = msgspec.Raw(b"null")


class CPU(NamedTuple):
    """Which CPU a machine has, as far as a table of counts tells.

    Attributes:
        vendor: its vendor string.
        family: its display family, or `-`.
        model: its display model, or `-`.
        bits32: whether only 32-bit programs run there.
        guest: whether there is a hypervisor.
    """

    vendor: str
    family: str
    model: str
    bits32: bool
    guest: bool


class Facts(NamedTuple):
    """What a fleet keeps of one machine.

    Attributes:
        isa: its instruction set, by the name of its facts, whose table and levels the rest is of.
        states: for each feature of the table the number of its state in `STATES`.
        safe: the features that are safe: a bit for each, in the order of the table, lowest first.
        basis: as in the assessment.
        verdict: as in the assessment; on aarch64 also `insufficient` where the level is open.
        level: the level that is known to be met, or `undecided`.
        advertised_level: as in the assessment.
        model: the CPU model.
        kernel: its release.
        hypervisor: what people call it, or its signature.
        flags: the flags that are safe, likewise, in wasmtime's order.
        source: the kind of capture.
        cpu: which CPU it is.
        findings: code, severity, cause and title of each.
    """

    isa: str
    states: bytes
    safe: int
    basis: str
    verdict: str
    level: str | None
    advertised_level: str | None
    model: str
    kernel: str
    hypervisor: str
    flags: int
    source: str
    cpu: CPU
    findings: tuple[tuple[str, str, str, str], ...]


class Machine(NamedTuple):
    """What a capture holds, before it is assessed.

    Attributes:
        label: what it is called.
        weight: what it counts, if its source says so.
        key: a digest of the evidence: machines with equal ones have equal facts, but for the model.
        model: its CPU's brand string where the evidence is without, else "".
    """

    label: str
    weight: Decimal | None
    key: bytes
    model: str


class _Wrapper(msgspec.Struct):
    """An object around a capture; or a report with a weight in it."""

    capture: msgspec.Raw = _NOTHING
    weight: msgspec.Raw = _NOTHING
    machine: str | None = None


def read_machine(piece: Piece) -> tuple[Machine, bytes] | Skipped:
    """The machine of one capture and the evidence on it, packed; or why there is none."""
    label = piece.label
    try:
        content: bytes = piece.content
        weight: object = piece.weight
        if piece.wrapped:
            content, label, weight = _unwrap(piece)
        number = None if weight is None else to_weight(weight)
        observation = parse_capture(content)
        evidence, model = _evidence(observation)
        packed = msgspec.msgpack.encode(evidence)
        key = hashlib.blake2b(packed, digest_size=16).digest()
        return Machine(label, number, key, model), packed
    except UnjudgedError as error:
        return Skipped(label, plain(str(error)), error.kind, error.what)
    except CaptureError as error:
        return Skipped(label, plain(str(error)), "text")


def _unwrap(piece: Piece) -> tuple[bytes, str, Decimal | None]:
    """The capture in an element of an array or in a line of JSON, its name and its weight."""
    try:
        found = msgspec.json.decode(piece.content, type=_Wrapper)
        weight = msgspec.json.decode(found.weight, type=Decimal | None)
        inner = bytes(found.capture)
        if inner.startswith(b'"'):
            inner = msgspec.json.decode(inner, type=str).encode()
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:120]
        raise CaptureError(f"not a JSON object with a capture: {why}") from None
    label = piece.label if found.machine is None else label_of(found.machine) or piece.label
    return (piece.content if inner == b"null" else inner), label, weight


def _evidence(observation: Observation) -> tuple[Observation, str]:
    """An observation without what no assessment depends on, and the brand that was in it.

    Most machines of a fleet are alike but for the words of their brand and the numbers of their
    CPUs. Those are left out where one group and one block of /proc/cpuinfo speak of the same CPUs
    and neither CPUID nor ID registers have told anything. On aarch64 the words stay: what a CPU is
    called comes of its part number first.
    """
    (group, *more), blocks = observation.groups, observation.cpuinfo or ()
    told = more or group.cpuid or group.registers
    if told or len(blocks) != 1 or blocks[0].cpus != group.cpus:
        return observation, ""
    fields = dict(blocks[0].fields)
    brand = "" if observation.isa == "aarch64" else fields.pop("model name", "")
    one = msgspec.structs.replace(blocks[0], cpus=(0,), fields=fields)
    return msgspec.structs.replace(
        observation, groups=(msgspec.structs.replace(group, cpus=(0,)),), cpuinfo=(one,)
    ), _text(" ".join(brand.split()))


def facts_of(evidence: Observation, wasmtime: str) -> Facts:
    """What a fleet keeps of a machine, for one version of wasmtime."""
    assessment = assess(evidence, wasmtime)
    isa = isas.facts_of(evidence.isa)
    features = [assessment.features[name] for name in isa.features()]
    identity = assessment.identity
    return Facts(
        isa=isa.name,
        states=bytes(_STATE_NUMBER[each.state] for each in features),
        safe=sum(1 << at for at, each in enumerate(features) if each.safe),
        basis=assessment.basis,
        verdict=_verdict(assessment, isa),
        level=_level(assessment, evidence, isa.list_key),
        advertised_level=assessment.advertised_level,
        model=_model(assessment),
        kernel=_text(identity.kernel or "") or "unknown",
        hypervisor=_text(hypervisor_called(identity.hypervisor or "")) or _no_hypervisor(evidence),
        flags=sum(
            1 << at
            for at, flag in enumerate(lookup(wasmtime, isa.name).flags)
            if assessment.cranelift.get(flag, False)
        ),
        source=_text(evidence.source),
        cpu=_cpu(assessment),
        findings=tuple(
            (each.code, each.severity, _text(each.cause), _text(each.title))
            for each in assessment.findings
        ),
    )


def _level(assessment: Assessment, evidence: Observation, list_key: str) -> str | None:
    """The level to count by; `undecided` where too little is known.

    A whole list of a kernel whose age is not told decides all but what is younger than the list
    may be: what it names counts, and such machines are told of (`insufficient` in their verdict).
    """
    decided = assessment.level_at_least == assessment.level_at_most
    blocks = evidence.cpuinfo or ()
    whole = bool(blocks) and all(
        each.fields.get(list_key) and each.incomplete is None for each in blocks
    )
    return assessment.level_at_least if decided or whole else UNDECIDED


def _verdict(assessment: Assessment, isa: IsaFacts) -> str:
    """The verdict; old kernels are as usual on aarch64 as lists that tell of no kernel's age."""
    is_open = assessment.level_at_least != assessment.level_at_most
    if isa is isas.AARCH64 and is_open and assessment.verdict == "consistent":
        return "insufficient"
    return assessment.verdict


def _text(text: str) -> str:
    return plain(text)[:_MAXIMUM_TEXT]


def _model(assessment: Assessment) -> str:
    """The brand string; where it is not recorded, vendor, family and model."""
    identity = assessment.identity
    brand = _text(identity.brand or "")
    if brand:
        return brand
    if identity.vendor and identity.family is not None and identity.model is not None:
        return _text(f"{identity.vendor} family {identity.family} model {identity.model}")
    return "unknown"


def _cpu(assessment: Assessment) -> CPU:
    identity = assessment.identity
    vendor = re.sub(r"[^A-Za-z0-9.!_-]", "_", identity.vendor or "unknown")[:16]
    family, model = (
        "-" if number is None else str(number) for number in (identity.family, identity.model)
    )
    return CPU(vendor, family, model, assessment.bits == 32, identity.hypervisor is not None)


def _no_hypervisor(observation: Observation) -> str:
    """What to write where none shows: `none` only if there was something that could show it.

    On aarch64 nothing can: MIDR_EL1 and the kernel's file tell of the host's CPU in most guests.
    """
    recorded = any(group.cpuid for group in observation.groups) or observation.cpuinfo
    return "none" if recorded and observation.isa != "aarch64" else "unknown"
