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
    needs AVX512F and AVX512VL, must not speak against AVX512F on a CPU without AVX512VL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from cpuprobe.assessment.kernel import KernelWitness
from cpuprobe.evidence.cpuid import Cpuid
from cpuprobe.evidence.observation import Candidate, CpuGroup, Observation, Outcome
from cpuprobe.facts.features import CpuidBit, Feature, FeatureTable

OSXSAVE = CpuidBit(0x1, 0, "ecx", 27)
OSPKE = CpuidBit(0x7, 0, "ecx", 4)
HWCAP2_FSGSBASE = 1 << 1  # Linux arch/x86/include/uapi/asm/hwcap2.h

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


class Evidence(msgspec.Struct, frozen=True):
    """What the witnesses say of one feature on one group of CPUs; None is silence.

    `ran` is the worst outcome that bears on the feature, `failed` the candidates behind it.
    `ran_before_permission` is the same before arch_prctl(ARCH_REQ_XCOMP_PERM).
    """

    cpuid: bool | None
    os: bool | None
    kernel: bool | None
    ran: Outcome | None
    ran_before_permission: Outcome | None
    failed: tuple[str, ...]

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


class GroupEvidence:
    """The evidence on every feature for one group of CPUs."""

    def __init__(
        self,
        group: CpuGroup,
        observation: Observation,
        kernel: KernelWitness,
        table: FeatureTable,
    ) -> None:
        """Ask all witnesses."""
        self.group = group
        self.cpuid = Cpuid(group.cpuid, read_in_64_bit_mode=observation.source == "probe")
        claims = {name: self.cpuid.bit(feature.cpuid) for name, feature in table.items()}
        self.osxsave = self.cpuid.bit(OSXSAVE)
        enabled = {
            name: self._os_enabled(feature, observation.hwcap2) for name, feature in table.items()
        }
        standing = {
            name for name in table if claims[name] is not False and enabled[name] is not False
        }
        ran = _outcomes(zip(observation.candidates, group.ran, strict=bool(group.ran)), standing)
        before = _outcomes(
            (
                (candidate, group.ran_before_permission[candidate.name])
                for candidate in observation.candidates
                if candidate.name in group.ran_before_permission
            ),
            standing,
        )
        nothing: tuple[Outcome | None, tuple[str, ...]] = (None, ())
        self.features: Mapping[str, Evidence] = {
            name: Evidence(
                cpuid=claims[name],
                os=enabled[name],
                kernel=kernel.lists(feature, group.cpus),
                ran=ran.get(name, nothing)[0],
                ran_before_permission=before.get(name, nothing)[0],
                failed=ran.get(name, nothing)[1],
            )
            for name, feature in table.items()
        }

    def missing_state(self, feature: Feature) -> int:
        """The XCR0 bits that `feature` needs and that are known to be clear."""
        if feature.xcr0 == 0 or self.osxsave is False:
            return feature.xcr0
        if self.group.xcr0 is not None:
            return feature.xcr0 & ~self.group.xcr0
        return sum(
            1 << component
            for component in range(2, 64)
            if feature.xcr0 >> component & 1 and self._component_off(component)
        )

    def _component_off(self, component: int) -> bool:
        enabled = self.cpuid.enabled_state_size()
        end = self.cpuid.state_component_end(component)
        return enabled is not None and end is not None and enabled < end

    def _os_enabled(self, feature: Feature, hwcap2: int | None) -> bool | None:
        if feature.os == "osxsave":
            return self.osxsave
        if feature.os == "ospke":
            return self.cpuid.bit(OSPKE)
        if feature.os == "fsgsbase":
            return None if hwcap2 is None else bool(hwcap2 & HWCAP2_FSGSBASE)
        if feature.xcr0 == 0:
            return True
        if self.missing_state(feature):
            return False
        return None if self.group.xcr0 is None else True


def _outcomes(
    ran: Iterable[tuple[Candidate, Outcome]], standing: set[str]
) -> dict[str, tuple[Outcome, tuple[str, ...]]]:
    """For each feature the worst outcome that bears on it and the candidates that had it.

    `standing` holds the features that are claimed and enabled as far as is known.
    """
    worst: dict[str, Outcome] = {}
    names: dict[str, list[str]] = {}
    for candidate, outcome in ran:
        failing = outcome not in ("ok", "skipped")
        for feature in candidate.features:
            if failing and not all(
                other == feature or other in standing for other in candidate.features
            ):
                continue
            known = worst.get(feature)
            if known is None or _GRAVITY[outcome] > _GRAVITY[known]:
                worst[feature] = outcome
            if failing:
                names.setdefault(feature, []).append(candidate.name)
    return {feature: (outcome, tuple(names.get(feature, ()))) for feature, outcome in worst.items()}


def worst_outcome(outcomes: Iterable[Outcome | None]) -> Outcome | None:
    """The gravest of several outcomes, None if there is none."""
    present: list[Outcome] = [outcome for outcome in outcomes if outcome is not None]
    if not present:
        return None
    worst: Outcome = max(present, key=lambda outcome: _GRAVITY[outcome])
    return worst
