"""The witnesses of aarch64.

ID registers and HWCAP are one witness speaking twice: the kernel filters both, and shows programs
what it lets them use. What either says yes to is claimed, since programs ask one or the other.
MIDR_EL1 names the core, and the table of cores tells what was taken away from what never was there.
Register state (SVE, SME) has no switch that shows: the kernel turns it on at the first use, or
hides the feature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cpuprobe.assessment.ground import Ground
from cpuprobe.assessment.kernel import release_number
from cpuprobe.assessment.model import FeatureAssessment, Identity
from cpuprobe.assessment.same_cpu import implementer_and_part
from cpuprobe.assessment.witnesses import GroupEvidence
from cpuprobe.evidence.observation import Auxv
from cpuprobe.facts.aarch64 import ArmFeature, load_features
from cpuprobe.facts.arm_cpus import Part, core_of, maker_of, name_of, part_of
from cpuprobe.facts.features import Feature
from cpuprobe.facts.tables import load_table


class ArmEvidence(GroupEvidence):
    """The evidence for one group of aarch64 CPUs."""

    def prepare(self, ground: Ground) -> None:
        """What registers and HWCAP say.

        HWCAP stands in for the kernel's list where there is none. What a register tells the kernel
        does not deny: it filters them, and an emulator's list has gaps.
        """
        registers = self.measured.registers
        sve = load_features()["sve"].told_by(registers)
        self._registers: dict[str, bool | None] = {}
        self._bits: dict[str, bool | None] = {}
        for name, feature in load_features().items():
            told, bit = feature.told_by(registers), _bit(feature, ground)
            # elf_hwcaps.rst: SVE2 and its like are told by ID_AA64ZFR0_EL1 and ID_AA64PFR0_EL1.SVE.
            if told and bit is False and feature.encoding == "sve" and sve is False:
                told = False
            self._registers[name], self._bits[name] = told, bit
            if told and not self.listed[name]:
                self.listed[name] = None
            elif self.listed[name] is None and bit is not None:
                self.listed[name] = True if bit else False if _tells(ground, feature) else None

    def claims(self, ground: Ground) -> dict[str, bool | None]:
        """What ID registers and HWCAP tell.

        A field that is 0, or a bit that is clear, says no only where the kernel is known to tell.
        """
        told: dict[str, bool | None] = {}
        for name, feature in load_features().items():
            answers = (self._registers[name], self._bits[name])
            if answers == (None, None):  # a text: the kernel's list is the claim
                told[name] = self.listed[name]
            elif True in answers:
                told[name] = True
            else:
                told[name] = False if False in answers and _tells(ground, feature) else None
        return told

    def enabled(self, ground: Ground) -> dict[str, bool | None]:
        """Nothing shows whether state is on; what is hidden is not claimed."""
        return dict.fromkeys(ground.table, None)

    def owned(self, ground: Ground) -> frozenset[str]:
        """What these cores have by their row in cpus-aarch64.toml."""
        part = self.part(ground)
        core = None if part is None else core_of(part)
        return frozenset() if core is None else core.features

    def part(self, ground: Ground) -> Part | None:
        """Which core it is, by MIDR_EL1 or the kernel's file; None if neither tells."""
        midr = self.measured.registers.get("midr_el1")
        if midr is not None:
            return part_of(midr)
        if ground.kernel.set_aside is not None:
            return None
        cpus = set(self.measured.cpus)
        for block in ground.observation.cpuinfo or ():
            if not cpus.isdisjoint(block.cpus):
                return implementer_and_part(block.fields)
        return None


def _bit(feature: ArmFeature, ground: Ground) -> bool | None:
    """What HWCAP says of a feature; None without the word, or a bit for it."""
    auxv = ground.observation.auxv or Auxv()
    if feature.hwcap is None:
        return None
    word: int | None = getattr(auxv, feature.hwcap.word)
    return None if word is None else feature.hwcap.holds(word)


def _tells(ground: Ground, feature: Feature) -> bool:
    """Whether the kernel is known to tell of a feature that is there."""
    since = release_number(feature.kernel.since)
    return since is not None and ground.kernel.release >= since and not feature.privileged


def parts(ground: Ground, groups: Sequence[GroupEvidence]) -> Iterator[Part]:
    """The cores of a machine, each kind once, in the order of its CPUs."""
    seen = set()
    for group in groups:
        part = group.part(ground) if isinstance(group, ArmEvidence) else None
        if part is not None and part not in seen:
            seen.add(part)
            yield part


def words_of(part: Part) -> str:
    """A core as people call it: `ARM Cortex-A72`, or its numbers."""
    maker, name = maker_of(part), name_of(part)
    numbers = f"implementer {part[0]:#x}, part {part[1]:#x}"
    return f"{maker} {name}" if maker and name else numbers


def identity(ground: Ground, groups: Sequence[GroupEvidence]) -> Identity:
    """Who the machine says it is: MIDR_EL1, the kernel's file, or a text."""
    kinds = list(parts(ground, groups))
    cores = ", ".join(words_of(part) for part in kinds[:4])
    fields = ground.cpuinfo_fields
    made_up = virtual_machine(kinds)
    return Identity(
        vendor=(maker_of(kinds[0]) if kinds else None) or ground.said.vendor,
        brand=cores or fields.get("model name") or ground.said.brand,
        kernel=ground.observation.kernel.release,
        hypervisor=made_up or ground.said.hypervisor,
        cpus=sum(len(group.cpus) for group in ground.ordered),
    )


def virtual_machine(kinds: Sequence[Part]) -> str | None:
    """Who made a machine up, where a part number says so."""
    rows = load_table("cpu_names-aarch64")["virtual"]
    named = (rows.get(f"0x{maker:02x}/0x{part:03x}") for maker, part in kinds)
    return next((name for name in named if name is not None), None)


def advertised(
    features: Mapping[str, FeatureAssessment], groups: Sequence[GroupEvidence]
) -> set[str]:
    """What ID registers and HWCAP claim; where neither is known, what the kernel lists."""
    return {
        name for name in features if all(group.features[name].claimed is True for group in groups)
    }


def long_mode(ground: Ground, groups: Sequence[GroupEvidence]) -> bool:
    """Programs of 64 bits run on every aarch64 kernel."""
    return True


def std_detect(group: GroupEvidence, ground: Ground) -> frozenset[str]:
    """The features that Rust's std_detect would report, by canonical name.

    It asks HWCAP and nothing else, and of most features what they build on as well. Source:
    rust-lang/rust 1069e66, std_detect/src/detect/os/linux/aarch64.rs. A capture may have the
    kernel's list alone.
    """
    table = load_features()
    auxv = ground.observation.auxv
    if auxv is not None and auxv.hwcap is not None:
        told = {name for name, feature in table.items() if _bit(feature, ground)}
    else:
        told = {name for name in table if group.features[name].kernel is True}
    return frozenset(name for name in told if table.closure(name) <= told)


def detector_is_told(ground: Ground, feature: Feature) -> bool:
    """Whether HWCAP, or the kernel's list in its place, was recorded."""
    auxv = ground.observation.auxv
    return (auxv is not None and auxv.hwcap is not None) or ground.kernel.set_aside is None
