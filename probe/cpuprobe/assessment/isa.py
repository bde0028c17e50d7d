"""What differs between instruction sets in an assessment: one record each, in isas.py.

The families of findings that only one has stand in `assess`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from cpuprobe.assessment.ground import Explain, Ground
from cpuprobe.assessment.model import Basis, FeatureAssessment, Identity
from cpuprobe.assessment.witnesses import GroupEvidence
from cpuprobe.evidence.observation import CpuGroup
from cpuprobe.facts.features import Feature
from cpuprobe.facts.isa import IsaFacts


class Words(NamedTuple):
    """How an instruction set's own claim is told, each before the names of features.

    Attributes:
        enumerates: it says yes.
        denies: it says no.
        and_enabled: after the names: nothing that the system enables is lacking.
        asked: what wasmtime's detector asks.
        alone: the cause that says that it asks no more.
        flags: which flags wasmtime's are.
    """

    enumerates: str
    denies: str
    and_enabled: str
    asked: str
    alone: str
    flags: str


class Causes(NamedTuple):
    """The rules by which something is explained; see causes.py."""

    not_listed: Explain
    faults: Explain
    wrong: Explain
    masked: Explain
    incoherent: Explain


class Isa(NamedTuple):
    """One instruction set.

    Attributes:
        facts: its tables.
        evidence: the witnesses on one group of CPUs.
        identity: who the machine says it is.
        advertised: what its CPUs alone claim.
        long_mode: whether nothing speaks against programs of 64 bits.
        detected: what wasmtime's own detector reports on a group of CPUs.
        detector_is_told: whether what that detector asks of a feature was recorded.
        basis: what an assessment rests on where nothing was executed.
        causes: why things are as they are.
        words: for evidence.
    """

    facts: IsaFacts
    evidence: Callable[[CpuGroup, Ground], GroupEvidence]
    identity: Callable[[Ground, Sequence[GroupEvidence]], Identity]
    advertised: Callable[[Mapping[str, FeatureAssessment], Sequence[GroupEvidence]], set[str]]
    long_mode: Callable[[Ground, Sequence[GroupEvidence]], bool]
    detected: Callable[[GroupEvidence, Ground], frozenset[str]]
    detector_is_told: Callable[[Ground, Feature], bool]
    basis: Basis
    causes: Causes
    words: Words
