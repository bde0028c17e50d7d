"""From the bytes of a capture to what the tables hold of it. Pure, and what other processes run."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from decimal import Decimal
from typing import NamedTuple

import msgspec

from cpuprobe.assessment import Assessment, assess
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.evidence.observation import Observation
from cpuprobe.facts.features import load_features
from cpuprobe.facts.wasmtime import lookup
from cpuprobe.fleet.model import Skipped
from cpuprobe.fleet.sources import Piece, label_of
from cpuprobe.fleet.tables import STATES, Facts
from cpuprobe.fleet.weights import to_weight
from cpuprobe.words import plain

REMEMBERED = 4096
"""Assessments that a process keeps; each takes about a kilobyte."""

_MAXIMUM_TEXT = 200
_STATE_NUMBER = {state: number for number, state in enumerate(STATES)}
_NOTHING = msgspec.Raw(b"null")


class Row(NamedTuple):
    """One machine: what it is called, what it counts if its source says so, and its facts."""

    label: str
    weight: Decimal | None
    facts: Facts


class _Wrapper(msgspec.Struct):
    """An object around a capture; or a report with a weight in it."""

    capture: msgspec.Raw = _NOTHING
    weight: msgspec.Raw = _NOTHING
    machine: str | None = None


class Reader:
    """Reads captures for one version of wasmtime."""

    def __init__(self, wasmtime: str, remembered: int = REMEMBERED) -> None:
        """Keep up to `remembered` assessments.

        A fleet has many machines that are alike to the last bit. The facts are a pure function of
        the observation (and of the version), so they are kept by its digest.
        """
        self._wasmtime = wasmtime
        self._flags = lookup(wasmtime).flags
        self._remembered = remembered
        self._known: OrderedDict[bytes, Facts] = OrderedDict()

    def read(self, piece: Piece) -> Row | Skipped:
        """The row of one capture, or why there is none."""
        label = piece.label
        try:
            content, weight = piece.content, piece.weight
            if piece.wrapped:
                content, label, weight = _unwrap(piece)
            number = None if weight is None else to_weight(weight)
            return Row(label, number, self._facts(parse_capture(content)))
        except CaptureError as error:
            return Skipped(label, plain(str(error)))

    def _facts(self, observation: Observation) -> Facts:
        if not self._remembered:
            return self._assess(observation)
        digest = hashlib.blake2b(msgspec.msgpack.encode(observation), digest_size=16).digest()
        facts = self._known.get(digest)
        if facts is None:
            facts = self._known[digest] = self._assess(observation)
            if len(self._known) > self._remembered:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(digest)
        return facts

    def _assess(self, observation: Observation) -> Facts:
        assessment = assess(observation, self._wasmtime)
        features = [assessment.features[name] for name in load_features()]
        identity = assessment.identity
        return Facts(
            states=bytes(_STATE_NUMBER[each.state] for each in features),
            safe=bytes(each.safe for each in features),
            basis=assessment.basis,
            verdict=assessment.verdict,
            level=assessment.level,
            advertised_level=assessment.advertised_level,
            model=_model(assessment),
            kernel=_text(identity.kernel or "") or "unknown",
            hypervisor=_text(identity.hypervisor or "") or _no_hypervisor(observation),
            flags=sum(
                1 << at
                for at, flag in enumerate(self._flags)
                if assessment.cranelift.get(flag, False)
            ),
            source=_text(observation.source),
            findings=tuple(
                (each.code, each.severity, _text(each.cause), _text(each.title))
                for each in assessment.findings
            ),
        )


def _unwrap(piece: Piece) -> tuple[bytes, str, object]:
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


def _no_hypervisor(observation: Observation) -> str:
    """What to write where none shows: `none` only if there was something that could show it."""
    recorded = any(group.cpuid for group in observation.groups) or observation.cpuinfo
    return "none" if recorded else "unknown"
