"""Why a feature is withheld or broken: argued from evidence only, the most specific cause first.

Causes are rows of profiles/findings.toml, `[[cause]]`. None is ever inferred from a model name; the
model only ever rules a cause out (GDS).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cpuprobe.assessment.kernel import release_number
from cpuprobe.assessment.machine import GDS_DISABLED, GDS_FILE, Cause, Machine
from cpuprobe.assessment.model import SetAside
from cpuprobe.assessment.witnesses import YMM_STATE
from cpuprobe.facts.features import X86Feature
from cpuprobe.facts.tables import load_table

# The option by which the kernel leaves a CR4 bit clear (Documentation/admin-guide,
# kernel-parameters.txt).
_CR4_OPTIONS: Mapping[str, str] = {"fsgsbase": "nofsgsbase", "ospke": "nopku"}


def cause(identifier: str, **values: str) -> Cause:
    """The words of a cause, with values filled in."""
    row = next(row for row in load_table("findings")["cause"] if row["id"] == identifier)
    text, remedy = row["text"], row["remedy"]
    for key, value in values.items():
        text, remedy = text.replace(f"{{{key}}}", value), remedy.replace(f"{{{key}}}", value)
    return Cause(text, remedy, identifier)


def set_aside(reason: SetAside, **values: str) -> str:
    """The words for why the kernel witness is set aside, with values filled in."""
    row = next(row for row in load_table("findings")["set_aside"] if row["id"] == reason)
    text: str = row["text"]
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", value)
    return text


def named_by_clearcpuid(machine: Machine, features: Iterable[X86Feature]) -> Iterator[str]:
    """The words `clearcpuid=...` that name one of `features` or something one of them builds on.

    The kernel takes names as /proc/cpuinfo prints them, or numbers (32 * word + bit) of its own
    feature words; word 0 is CPUID.01H:EDX, word 4 is CPUID.01H:ECX and word 9 is CPUID.07H:EBX
    (arch/x86/include/asm/cpufeatures.h).
    """
    kernel_words = {(0x1, "edx"): 0, (0x1, "ecx"): 4, (0x7, "ebx"): 9, (0x7, "ecx"): 16}
    wanted: set[str] = set()
    for feature in features:
        for name in {feature.name, *machine.table.closure(feature.name)}:
            row = machine.table[name]
            if row.kernel.flag is not None:
                wanted.add(row.kernel.flag)
            word = kernel_words.get((row.cpuid.leaf, row.cpuid.register))
            if word is not None and row.cpuid.subleaf == 0:
                wanted.add(str(32 * word + row.cpuid.bit))
    for option in machine.option("clearcpuid"):
        if wanted.intersection(option.partition("=")[2].split(",")):
            yield option


def why_state_off(machine: Machine, features: list[X86Feature]) -> tuple[Cause, list[str]]:
    """Why the register state of `features` is off: the cause and the evidence for it."""
    gds = _gds(machine, features)
    if gds is not None:
        return gds
    gates = {feature.os for feature in features}
    options = [option for gate, option in _CR4_OPTIONS.items() if gate in gates]
    words = [*machine.option("noxsave", *options), *named_by_clearcpuid(machine, features)]
    if words:
        return cause("command-line", word=" ".join(words)), [
            f"kernel command line: {' '.join(words)}"
        ]
    since = _enabled_since(machine, features)
    release = release_number(machine.observation.kernel.release)
    if since is not None and release is not None and release < (release_number(since) or ()):
        return cause(
            "kernel-too-old", release=machine.observation.kernel.release or "", since=since
        ), []
    if machine.virtual:
        return cause("hypervisor", hypervisor=machine.hypervisor), [
            f"CPUID.01H:ECX[31] (hypervisor) is set: {machine.hypervisor}"
        ]
    return cause("unknown"), []


def _enabled_since(machine: Machine, features: list[X86Feature]) -> str | None:
    """The Linux release that first enables the one gate that all `features` are behind, if any."""
    gates = {feature.os or feature.encoding for feature in features}
    for row in machine.quirks["enabled_since"]:
        if gates == {row["gate"]}:
            since: str = row["linux"]
            return since
    return None


def _gds(machine: Machine, features: list[X86Feature]) -> tuple[Cause, list[str]] | None:
    """The GDS mitigation as cause, where it can be one.

    Impossible on a CPU without the flaw, and inside a guest, where the kernel leaves AVX on
    (arch/x86/kernel/cpu/bugs.c, gds_select_mitigation).
    """
    affected = machine.gds_affected
    if affected is None or machine.virtual or not all(f.xcr0 & YMM_STATE for f in features):
        return None
    sysfs = machine.observation.vulnerabilities.get(GDS_FILE)
    forced = "gather_data_sampling=force" in machine.option("gather_data_sampling")
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


def why_not_listed(machine: Machine, features: list[X86Feature]) -> tuple[Cause, list[str]]:
    """Why the kernel does not list `features` that it knows and CPUID claims."""
    words = [*named_by_clearcpuid(machine, features)]
    if any(feature.os == "osxsave" for feature in features):
        words += machine.option("noxsave", "noxsaveopt")
    if words:
        return cause("command-line", word=" ".join(words)), [
            f"kernel command line: {' '.join(words)}"
        ]
    for row in machine.quirks["kernel_hides"]:
        if (
            [feature.name for feature in features] == row["features"]
            and machine.cpuid.vendor == row["vendor"]
            and machine.cpuid.signature is not None
            and machine.cpuid.signature[0] in row["families"]
        ):
            return cause(row["cause"]), []
    return cause("unknown"), []


def why_it_faults(machine: Machine) -> tuple[Cause, list[str]]:
    """Why something claimed and enabled does not execute rightly."""
    if machine.virtual:
        return cause("emulator", hypervisor=machine.hypervisor), [
            f"CPUID.01H:ECX[31] (hypervisor) is set: {machine.hypervisor}"
        ]
    if machine.kernel.set_aside == "another-cpu":
        return cause("emulator", hypervisor="not announced in CPUID"), [set_aside("another-cpu")]
    return cause("unknown"), []


def why_it_is_wrong(machine: Machine) -> tuple[Cause, list[str]]:
    """Why something executes with a wrong result. Only an emulator's own signature accuses one."""
    emulators = {row["signature"] for row in machine.quirks["hypervisor"] if "emulator" in row}
    if machine.virtual and machine.cpuid.hypervisor in emulators:
        return cause("emulator-wrong", hypervisor=machine.hypervisor), [
            f"CPUID.40000000H: {machine.hypervisor}"
        ]
    if any(group.measured.repeated and group.measured.repeated.failed for group in machine.groups):
        return cause("errs-now-and-then"), []
    return cause("unknown"), []


def why_masked(machine: Machine) -> tuple[Cause, list[str]]:
    """Why something executes that CPUID denies."""
    if machine.virtual:
        return cause("masked", hypervisor=machine.hypervisor), [
            f"CPUID.01H:ECX[31] (hypervisor) is set: {machine.hypervisor}"
        ]
    return cause("unknown"), []
