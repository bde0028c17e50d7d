"""The four witnesses on every feature, for each group of CPUs: cpuid, os, kernel, ran.

The essay once, then silence. A feature may be used if CPUID enumerates it, if the operating system
enabled the register state of its encoding, and if executing it gives the right result:
  - cpuid: the bit of the feature's row, read by `Cpuid.bit`;
  - os: OSXSAVE, and all XCR0 bits that the row's encoding needs (SDM vol. 1, 14.3 and 15.2). Where
    XCR0 was not recorded, CPUID.0DH:EBX still tells when a component is off: it is the size of the
    area for the enabled components (SDM vol. 1, 13.2). A few features have a CR4 bit instead, which
    shows in another CPUID bit or in AT_HWCAP2;
  - kernel: see `KernelWitness`;
  - ran: the candidates. One that needs several features proves all of them by running. If it fails
    it speaks only against a feature whose companions are all claimed and enabled: VPABSQ xmm, which
    needs AVX512F and AVX512VL, must not speak against AVX512F on a CPU without AVX512VL. And it
    speaks only against those that no other candidate has shown to run: VGF2P8MULB that faults where
    VADDPS ran says nothing of AVX.
Where a text told of features by name, `Told` stands in for what was not measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property

import msgspec

from cpuprobe.assessment.ground import Ground
from cpuprobe.assessment.model import State
from cpuprobe.evidence.cpuid import Cpuid
from cpuprobe.evidence.observation import Candidate, CpuGroup, Outcome
from cpuprobe.facts.features import Feature, FeatureTable

# From mild to grave; the worst outcome of several is the feature's.
_FROM_MILD_TO_GRAVE: tuple[Outcome, ...] = (
    "skipped",
    "ok",
    "wrong",
    "sigtrap",
    "sigfpe",
    "sigbus",
    "sigsegv",
    "sigill",
    "timeout",
    "killed",
)
_GRAVITY = {outcome: place for place, outcome in enumerate(_FROM_MILD_TO_GRAVE)}

_Outcomes = dict[str, tuple[Outcome, tuple[str, ...]]]
_SILENCE: tuple[Outcome | None, tuple[str, ...]] = (None, ())


class Evidence(msgspec.Struct, frozen=True):
    """What the witnesses say of one feature on one group of CPUs; None is silence.

    `ran` is the worst outcome that bears on the feature, `failed` the candidates behind it.
    `ran_before_permission` is the same before arch_prctl(ARCH_REQ_XCOMP_PERM). `denied`: a detector
    that looks at several witnesses says no, and not which of them. `taken`: the kernel says that it
    has switched the feature off. `owned`: the CPU has it by its maker's manual, whatever is told.
    """

    cpuid: bool | None
    os: bool | None
    kernel: bool | None
    ran: Outcome | None
    ran_before_permission: Outcome | None
    failed: tuple[str, ...]
    denied: bool = False
    taken: bool = False
    owned: bool = False

    @property
    def runs(self) -> bool | None:
        """True if it executed rightly, False if it did not, None without evidence."""
        if self.ran is None or self.ran == "skipped":
            return None
        return self.ran == "ok"

    @property
    def claimed(self) -> bool | None:
        """What CPUID says; where CPUID is silent, what the kernel says."""
        return self.kernel if self.cpuid is None else self.cpuid


def state_of(feature: Feature, evidence: Evidence) -> State:
    """The state of one feature on one group of CPUs. The order of the questions is the argument."""
    runs, claimed = evidence.runs, evidence.claimed
    absent: State = "withheld" if evidence.owned else "absent"
    if evidence.cpuid is False:
        return "hidden" if runs else absent
    if claimed is not True:  # CPUID is mute, and the kernel denies it or is mute too
        if runs is False:
            return absent
        if runs is None:
            if evidence.taken:
                return "withheld"
            told = claimed is False or evidence.denied or evidence.os is False
            return absent if told else "unknown"
    if evidence.os is False:
        return "withheld"
    if feature.needs_permission and evidence.ran_before_permission != "ok":
        # Without a second try the permission was refused or never asked for: failing is expected.
        second_try_failed = evidence.ran_before_permission is not None and runs is False
        return "broken" if second_try_failed else "gated"
    if runs is False:
        return "broken"
    if evidence.kernel is False or evidence.denied:
        return "withheld"
    return "usable" if runs else "unverified"


class GroupEvidence:
    """The evidence on every feature for one group of CPUs; each instruction set has its own kind.

    Attributes:
        measured: as the observation has it.
        cpuid: its leaves, if it has any.
        told: what texts told in place of measuring.
        listed: what the kernel's list says of each feature.
        features: the evidence, by canonical name.
    """

    def __init__(self, group: CpuGroup, ground: Ground) -> None:
        """Ask all witnesses."""
        observation, table = ground.observation, ground.table
        self.measured = group
        self.cpuid = Cpuid(group.cpuid, read_in_64_bit_mode=observation.source == "probe")
        self.told = ground.told
        self._table = table
        kernel = ground.kernel
        listings = kernel.listings(group.cpus)
        self.listed = {name: kernel.lists(feature, listings) for name, feature in table.items()}
        self.listed.update(ground.told.kernel)
        self.prepare(ground)
        claims = self.claims(ground)
        for name, claim in ground.told.cpuid.items():
            if claims[name] is None:
                claims[name] = claim
        enabled = self.enabled(ground)
        ran, before = _Outcomes(), _Outcomes()
        if group.ran:
            eligible = {
                name for name in table if claims[name] is not False and enabled[name] is not False
            }
            ran = _outcomes(
                list(zip(observation.candidates, group.ran, strict=True)), eligible, table
            )
            again = group.ran_before_permission
            before = _outcomes(
                [(each, again[each.name]) for each in observation.candidates if each.name in again],
                eligible,
                table,
            )
        denied, taken, owned = ground.told.denied, self.taken(), self.owned(ground)
        self.features: Mapping[str, Evidence] = {
            name: Evidence(
                claims[name],
                enabled[name],
                self.listed[name],
                ran.get(name, _SILENCE)[0],
                before.get(name, _SILENCE)[0],
                ran.get(name, _SILENCE)[1],
                name in denied,
                name in taken,
                name in owned,
            )
            for name in table
        }

    def prepare(self, ground: Ground) -> None:
        """Lay out what the answers below rest on."""

    def claims(self, ground: Ground) -> dict[str, bool | None]:
        """What the CPU itself says of each feature."""
        raise NotImplementedError

    def enabled(self, ground: Ground) -> dict[str, bool | None]:
        """Whether the operating system has enabled the state that each feature needs."""
        raise NotImplementedError

    def taken(self) -> Collection[str]:
        """The features of which the kernel says that it has switched them off."""
        return ()

    def owned(self, ground: Ground) -> Collection[str]:
        """The features that these CPUs have by their maker's manual."""
        return ()

    @cached_property
    def states(self) -> dict[str, State]:
        """The state of every feature on these CPUs."""
        return {name: state_of(self._table[name], each) for name, each in self.features.items()}


def _outcomes(
    ran: Sequence[tuple[Candidate, Outcome]], eligible: set[str], table: FeatureTable
) -> _Outcomes:
    """For each feature the worst outcome that bears on it and the candidates that had it.

    `eligible` holds the features that are claimed and enabled as far as is known.
    """
    shown: set[str] = set()
    skipped: set[str] = set()
    failing = []
    for candidate, outcome in ran:
        if outcome == "ok":
            shown.update(candidate.features)
        elif outcome == "skipped":
            skipped.update(candidate.features)
        else:
            failing.append((candidate, outcome))
    worst: dict[str, Outcome] = {**dict.fromkeys(skipped, "skipped"), **dict.fromkeys(shown, "ok")}
    names: dict[str, list[str]] = {}
    for candidate, outcome in failing:
        for feature in _blamed(candidate.features, eligible, shown, table):
            names.setdefault(feature, []).append(candidate.name)
            if _GRAVITY[outcome] > _GRAVITY[worst.get(feature, "skipped")]:
                worst[feature] = outcome
    return {feature: (outcome, tuple(names.get(feature, ()))) for feature, outcome in worst.items()}


def _blamed(
    features: tuple[str, ...], eligible: set[str], shown: set[str], table: FeatureTable
) -> Sequence[str]:
    """Those of a failing candidate's features that it speaks against.

    Where each of them runs elsewhere, what is broken is their union: then those are to blame that
    no other of them builds on.
    """
    if len(features) == 1:
        return features
    missing = [name for name in features if name not in eligible]
    if missing:  # The failure is that one's: it speaks against nothing else.
        return missing if len(missing) == 1 else ()
    return [name for name in features if name not in shown] or [
        name
        for name in features
        if not any(name in table.closure(other) for other in features if other in table)
    ]


def worst_outcome(outcomes: Iterable[Outcome | None]) -> Outcome | None:
    """The gravest of several outcomes, None if there is none."""
    present: list[Outcome] = [outcome for outcome in outcomes if outcome is not None]
    if not present:
        return None
    worst: Outcome = max(present, key=lambda outcome: _GRAVITY[outcome])
    return worst
