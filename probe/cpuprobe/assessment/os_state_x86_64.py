"""CP101 and CP105: register state of x86-64 that the operating system has not enabled."""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.assessment.causes_x86_64 import why_state_off
from cpuprobe.assessment.listing import executions, state_is_off, told_elsewhere
from cpuprobe.assessment.machine import Machine
from cpuprobe.assessment.model import Finding
from cpuprobe.assessment.x86_64 import X86Evidence, x86_evidence
from cpuprobe.facts.features import X86Feature, load_features
from cpuprobe.words import names

_COMPONENT_NAMES = {1: "SSE", 2: "AVX (YMM)", 5: "opmask", 17: "TILECFG", 19: "APX"}


def os_state_findings(machine: Machine) -> Iterator[Finding]:
    """The findings of this family."""
    yield from _state_off(machine)
    yield from _listed_without_xsave(machine)


def _state_off(machine: Machine) -> Iterator[Finding]:
    """One CP101 for each lowest missing component: all that needs YMM falls with it."""
    families: dict[str, list[X86Feature]] = {}
    linux = machine.observation.kernel.release is not None
    groups = x86_evidence(machine.groups)
    for name in machine.showing(state_is_off):
        feature = load_features()[name]
        # A CR4 bit that a system never sets withholds nothing which its own programs expect; only
        # of Linux is it known that CPUID and /proc/cpuinfo then promise too much.
        if feature.os in ("ospke", "fsgsbase") and not linux:
            continue
        untold = [
            group
            for group in groups
            if state_is_off(group.features[name]) and not told_elsewhere(group)
        ]
        if untold:
            families.setdefault(_missing(untold[0], feature), []).append(feature)
    for missing, features in families.items():
        listed = [feature.name for feature in features]
        cpus = machine.cpus_where(
            lambda group, listed=listed: any(state_is_off(group.features[n]) for n in listed)
        )
        why, evidence = why_state_off(machine, features)
        yield machine.finding(
            "CP101",
            listed,
            cpus,
            [
                f"CPUID enumerates {names(listed)}",
                missing,
                *executions(machine, listed),
                *evidence,
            ],
            why,
        )


def _listed_without_xsave(machine: Machine) -> Iterator[Finding]:
    """Linux prints xsave wherever CR4.OSXSAVE is set: without it no state beyond SSE's is on."""
    without = [group for group in x86_evidence(machine.groups) if group.listed_without_xsave]
    listed = [
        name
        for name, feature in machine.table.items()
        if feature.state and any(group.features[name].kernel for group in without)
    ]
    if listed:
        flags = [machine.table[name].kernel.flag or name for name in listed]
        yield machine.finding(
            "CP105",
            listed,
            sorted(cpu for group in without for cpu in group.measured.cpus),
            [f"the kernel's list is whole, has {names(flags)}, and has no xsave"],
        )


def _missing(group: X86Evidence, feature: X86Feature) -> str:
    """What is off, in words that are also evidence."""
    if feature.os == "ospke":
        return "CPUID.07H:ECX.OSPKE[bit 4] is 0: the kernel has not set CR4.PKE"
    if feature.os == "fsgsbase":
        return "AT_HWCAP2 bit 1 is 0: the kernel has not set CR4.FSGSBASE"
    if group.osxsave is False:
        return "CPUID.01H:ECX.OSXSAVE[bit 27] is 0: the kernel has not set CR4.OSXSAVE"
    mask = group.missing_state(feature)
    lowest = (mask & -mask).bit_length() - 1
    component = _COMPONENT_NAMES.get(lowest, f"component {lowest}")
    if group.measured.xcr0 is not None:
        return f"XCR0 = {group.measured.xcr0:#x}: bit {lowest}, {component} state, is off"
    if group.avx_off:
        return "the kernel says that it has disabled AVX"
    return (
        f"CPUID.0DH:EBX = {group.cpuid.enabled_state_size()} bytes of enabled state: "
        f"bit {lowest} of XCR0, {component} state, is off"
    )
