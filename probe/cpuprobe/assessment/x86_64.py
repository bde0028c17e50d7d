"""The witnesses of x86-64: CPUID, XCR0 and the bits of CR4 that show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cpuprobe.assessment.ground import Ground
from cpuprobe.assessment.model import FeatureAssessment, Identity
from cpuprobe.assessment.witnesses import GroupEvidence
from cpuprobe.evidence.observation import CpuGroup
from cpuprobe.facts.features import CpuidBit, Feature, X86Feature, load_features

OSXSAVE = CpuidBit(0x1, 0, "ecx", 27)
OSPKE = CpuidBit(0x7, 0, "ecx", 4)
YMM_STATE = 1 << 2  # XCR0, the upper halves of YMM: what the GDS mitigation clears
HWCAP2_FSGSBASE = 1 << 1  # Linux arch/x86/include/uapi/asm/hwcap2.h


class X86Evidence(GroupEvidence):
    """The evidence for one group of x86 CPUs.

    Attributes:
        osxsave: whether CR4.OSXSAVE is set, None where that is not known.
        listed_without_xsave: whether that is known only from a list of the kernel's without xsave.
        avx_off: whether the kernel says that it has disabled AVX, and XCR0 does not contradict.
    """

    def __init__(self, group: CpuGroup, ground: Ground) -> None:
        """Ask all witnesses."""
        self.osxsave: bool | None = None
        self.listed_without_xsave = False
        self.avx_off = ground.avx_disabled and not (group.xcr0 or 0) & YMM_STATE
        self._states_on: dict[int, bool | None] = {}
        super().__init__(group, ground)

    def prepare(self, ground: Ground) -> None:
        """Whether state beyond SSE's can be on at all."""
        self.osxsave = self.cpuid.bit(OSXSAVE)
        self.listed_without_xsave = self.osxsave is None and self.listed["xsave"] is False
        if self.osxsave is None:
            self.osxsave = False if self.listed_without_xsave else self.told.os.get("xsave")

    def claims(self, ground: Ground) -> dict[str, bool | None]:
        """What CPUID enumerates."""
        bit = self.cpuid.bit
        return {name: bit(feature.cpuid) for name, feature in load_features().items()}

    def enabled(self, ground: Ground) -> dict[str, bool | None]:
        """What XCR0 and CR4 enable."""
        hwcap2 = ground.observation.hwcap2
        return {
            name: self._os_enabled(feature, hwcap2) for name, feature in load_features().items()
        }

    def taken(self) -> tuple[str, ...]:
        """AVX, where the kernel says that its GDS mitigation has disabled it."""
        return ("avx",) if self.avx_off else ()

    def missing_state(self, feature: X86Feature) -> int:
        """The XCR0 bits that `feature` needs and that are known to be clear."""
        if feature.xcr0 == 0 or self.osxsave is False:
            return feature.xcr0
        if self.measured.xcr0 is not None:
            return feature.xcr0 & ~self.measured.xcr0
        if self.avx_off and feature.xcr0 & YMM_STATE:
            return YMM_STATE
        return sum(
            1 << component
            for component in range(2, 64)
            if feature.xcr0 >> component & 1 and self._component_off(component)
        )

    def _component_off(self, component: int) -> bool:
        enabled = self.cpuid.enabled_state_size()
        end = self.cpuid.state_component_end(component)
        return enabled is not None and end is not None and enabled < end

    def _os_enabled(self, feature: X86Feature, hwcap2: int | None) -> bool | None:
        if feature.os is None:
            mask = feature.xcr0
            if mask == 0:
                return True
            if mask not in self._states_on:
                self._states_on[mask] = self._state_on(feature, mask)
            return self._states_on[mask]
        if feature.os == "osxsave":
            return self.osxsave
        measured = None if hwcap2 is None else bool(hwcap2 & HWCAP2_FSGSBASE)
        if feature.os == "ospke":
            measured = self.cpuid.bit(OSPKE)
        return self.told.os.get(feature.name) if measured is None else measured

    def _state_on(self, feature: X86Feature, mask: int) -> bool | None:
        if self.missing_state(feature):
            return False
        return self.told.state(mask) if self.measured.xcr0 is None else True


def x86_evidence(groups: Sequence[GroupEvidence]) -> list[X86Evidence]:
    """The groups of a machine that are of x86 CPUs: all or none."""
    return [group for group in groups if isinstance(group, X86Evidence)]


def long_mode(ground: Ground, groups: Sequence[GroupEvidence]) -> bool:
    """Whether nothing speaks against 64-bit mode: the psABI levels are levels of x86-64.

    A K8 Sempron without long mode has every feature of x86-64-v1, and programs on a 32-bit
    kernel are 32-bit whatever the CPU has. What a probe measured ran in 64-bit mode.
    """
    if ground.observation.source == "probe":
        return True
    if ground.observation.isa == "i686":
        return False
    if any(group.cpuid for group in groups):
        return all(group.cpuid.long_mode is not False for group in groups)
    listings = ground.kernel.listings([cpu for group in groups for cpu in group.measured.cpus])
    return not any(listing.whole and "lm" not in listing.names for listing in listings)


def identity(ground: Ground, groups: Sequence[GroupEvidence]) -> Identity:
    """Who the machine says it is: CPUID, the kernel, or a text."""
    fields = ground.cpuinfo_fields
    signature = ground.signature or (None, None, None)
    return Identity(
        vendor=ground.vendor,
        brand=ground.cpuid.brand or fields.get("model name") or ground.said.brand,
        family=signature[0],
        model=signature[1],
        stepping=signature[2],
        microcode=fields.get("microcode") or ground.said.microcode,
        kernel=ground.observation.kernel.release,
        hypervisor=ground.hypervisor if ground.virtual else None,
        cpus=sum(len(group.cpus) for group in ground.ordered),
    )


def advertised(
    features: Mapping[str, FeatureAssessment], groups: Sequence[GroupEvidence]
) -> set[str]:
    """What CPUID alone claims; OSXSAVE is a CPUID bit too, and v3 is not claimed where it is off.

    Where a capture has no CPUID at all (/proc/cpuinfo, lscpu), the kernel's list is the claim, or
    what else is told. The kernel lists `xsave` only where it has set CR4.OSXSAVE.
    """
    if all(not group.cpuid and group.measured.cpuid_outcome == "ok" for group in groups):
        return {
            name
            for name in features
            if all(group.features[name].claimed is True for group in groups)
        }
    claimed = {name for name, feature in features.items() if feature.cpuid is True}
    if any(group.osxsave is False for group in x86_evidence(groups)):
        claimed -= {name for name in claimed if load_features()[name].os == "osxsave"}
    return claimed


def detector_is_told(ground: Ground, feature: Feature) -> bool:
    """Whether CPUID and, where the feature needs it, XCR0 were recorded."""
    if ground.observation.executed and not ground.cpuid:
        return False
    return feature.state == 0 or all(group.xcr0 is not None for group in ground.ordered)
