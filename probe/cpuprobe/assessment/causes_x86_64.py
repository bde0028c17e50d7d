"""Why a feature of x86-64 is withheld or broken: from evidence only, the most specific cause first.

None is ever inferred from a model name; the model only ever rules a cause out (GDS).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cpuprobe.assessment.causes import cause, set_aside
from cpuprobe.assessment.ground import NO_CAUSE, Cause, Ground
from cpuprobe.assessment.kernel import release_number
from cpuprobe.assessment.x86_64 import YMM_STATE
from cpuprobe.facts.features import X86Feature, load_features
from cpuprobe.facts.gds import GDS_DISABLED, GDS_FILE
from cpuprobe.facts.hypervisors import is_emulator

# The option by which the kernel leaves a CR4 bit clear (Documentation/admin-guide,
# kernel-parameters.txt).
_CR4_OPTIONS: Mapping[str, str] = {"fsgsbase": "nofsgsbase", "ospke": "nopku"}


# The kernel's words of features that are a register of CPUID, by leaf, subleaf and register
# (arch/x86/include/asm/cpufeature.h, enum cpuid_leafs).
_KERNEL_WORDS: Mapping[tuple[int, int, str], int] = {
    (0x1, 0, "edx"): 0,
    (0x80000001, 0, "edx"): 1,
    (0x1, 0, "ecx"): 4,
    (0x80000001, 0, "ecx"): 6,
    (0x7, 0, "ebx"): 9,
    (0xD, 1, "eax"): 10,
    (0x7, 1, "eax"): 12,
    (0x80000008, 0, "ebx"): 13,
    (0x7, 0, "ecx"): 16,
    (0x7, 0, "edx"): 18,
}


def named_by_clearcpuid(ground: Ground, features: Iterable[X86Feature]) -> Iterator[str]:
    """The words `clearcpuid=...` that name one of `features` or something one of them builds on.

    The kernel takes names as /proc/cpuinfo prints them, or numbers: 32 * word + bit.
    """
    wanted: set[str] = set()
    table = load_features()
    for feature in features:
        for name in {feature.name, *table.closure(feature.name)}:
            row = table[name]
            if row.kernel.flag is not None:
                wanted.add(row.kernel.flag)
            word = _KERNEL_WORDS.get((row.cpuid.leaf, row.cpuid.subleaf, row.cpuid.register))
            if word is not None:
                wanted.add(str(32 * word + row.cpuid.bit))
    for option in ground.option("clearcpuid"):
        if wanted.intersection(option.partition("=")[2].split(",")):
            yield option


def why_state_off(ground: Ground, features: list[X86Feature]) -> tuple[Cause, list[str]]:
    """Why the register state of `features` is off: the cause and the evidence for it."""
    gds = _gds(ground, features)
    if gds is not None:
        return gds
    gates = {feature.os for feature in features}
    options = [option for gate, option in _CR4_OPTIONS.items() if gate in gates]
    words = [*ground.option("noxsave", *options), *named_by_clearcpuid(ground, features)]
    if words:
        return cause("command-line", word=" ".join(words)), [
            f"kernel command line: {' '.join(words)}"
        ]
    since = _enabled_since(ground, features)
    release = release_number(ground.observation.kernel.release)
    if since is not None and release is not None and release < (release_number(since) or ()):
        return cause(
            "kernel-too-old", release=ground.observation.kernel.release or "", since=since
        ), []
    if ground.virtual:
        return cause("hypervisor", hypervisor=ground.hypervisor), [
            f"CPUID.01H:ECX[31] (hypervisor) is set: {ground.hypervisor}"
        ]
    return cause("unknown"), []


def _enabled_since(ground: Ground, features: list[X86Feature]) -> str | None:
    """The Linux release that first enables the one gate that all `features` are behind, if any."""
    gates = {feature.os or feature.encoding for feature in features}
    for row in ground.quirks["enabled_since"]:
        if gates == {row["gate"]}:
            since: str = row["linux"]
            return since
    return None


def _gds(ground: Ground, features: list[X86Feature]) -> tuple[Cause, list[str]] | None:
    """The GDS mitigation as cause, where it can be one.

    Impossible on a CPU without the flaw, and inside a guest, where the kernel leaves AVX on
    (arch/x86/kernel/cpu/bugs.c, gds_select_mitigation).
    """
    affected = ground.gds_affected
    if affected is None or ground.virtual or not all(f.xcr0 & YMM_STATE for f in features):
        return None
    sysfs = ground.observation.vulnerabilities.get(GDS_FILE)
    forced = "gather_data_sampling=force" in ground.option("gather_data_sampling")
    evidence = [f"this CPU has the flaw: {affected}"]
    if forced:
        evidence.append("kernel command line: gather_data_sampling=force")
    if sysfs is not None and GDS_DISABLED in sysfs:
        return cause("gds"), [
            f"/sys/devices/system/cpu/vulnerabilities/gather_data_sampling: {sysfs}",
            *evidence,
        ]
    if sysfs is None and forced:
        return cause("gds-likely"), evidence
    return None


def why_not_listed(ground: Ground, listed: list[str]) -> tuple[Cause, list[str]]:
    """Why the kernel does not list features that it knows and CPUID claims."""
    features = [load_features()[name] for name in listed]
    words = [*named_by_clearcpuid(ground, features)]
    if any(feature.os == "osxsave" for feature in features):
        words += ground.option("noxsave", "noxsaveopt")
    if words:
        return cause("command-line", word=" ".join(words)), [
            f"kernel command line: {' '.join(words)}"
        ]
    for row in ground.quirks["kernel_hides"]:
        if (
            listed == row["features"]
            and ground.cpuid.vendor == row["vendor"]
            and ground.cpuid.signature is not None
            and ground.cpuid.signature[0] in row["families"]
        ):
            return cause(row["cause"]), []
    return cause("unknown"), []


def why_it_faults(ground: Ground, listed: list[str]) -> tuple[Cause, list[str]]:
    """Why something claimed and enabled does not execute rightly."""
    if ground.virtual:
        return cause("emulator", hypervisor=ground.hypervisor), [
            f"CPUID.01H:ECX[31] (hypervisor) is set: {ground.hypervisor}"
        ]
    if ground.kernel.set_aside == "another-cpu":
        return cause("emulator", hypervisor="not announced in CPUID"), [set_aside("another-cpu")]
    return cause("unknown"), []


def _emulated(ground: Ground) -> bool:
    return ground.virtual and is_emulator(ground.cpuid.hypervisor)


def why_it_is_wrong(ground: Ground, listed: list[str]) -> tuple[Cause, list[str]]:
    """Why something executes with a wrong result. Only an emulator's own signature accuses one."""
    if _emulated(ground):
        return cause("emulator-wrong", hypervisor=ground.hypervisor), [
            f"CPUID.40000000H: {ground.hypervisor}"
        ]
    if any(group.repeated and group.repeated.failed for group in ground.ordered):
        return cause("errs-now-and-then"), []
    return cause("unknown"), []


def why_masked(ground: Ground, listed: list[str]) -> tuple[Cause, list[str]]:
    """Why something executes that CPUID denies."""
    if ground.virtual:
        name = "emulator-beyond" if _emulated(ground) else "masked"
        return cause(name, hypervisor=ground.hypervisor), [
            f"CPUID.01H:ECX[31] (hypervisor) is set: {ground.hypervisor}"
        ]
    return cause("unknown"), []


def why_incoherent(ground: Ground, listed: list[str]) -> tuple[Cause, list[str]]:
    """Why something is claimed without what it builds on: a mask, of which nothing tells more."""
    return NO_CAUSE, []
