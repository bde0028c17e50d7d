"""CP101 to CP105: what the operating system takes away, gates, or lists wrongly."""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.assessment.causes import why_not_listed, why_state_off
from cpuprobe.assessment.machine import Cause, Machine, cpus_of, finding
from cpuprobe.assessment.model import Finding
from cpuprobe.assessment.witnesses import Evidence, GroupEvidence
from cpuprobe.facts.features import X86Feature
from cpuprobe.words import names

_COMPONENT_NAMES = {1: "SSE", 2: "AVX (YMM)", 5: "opmask", 17: "TILECFG", 19: "APX"}


def os_state_findings(machine: Machine) -> Iterator[Finding]:
    """The findings of this family."""
    yield from _state_off(machine)
    yield from _listed_without_xsave(machine)
    yield from _withheld_by_kernel(machine)
    yield from _gated(machine)
    yield from _listed_but_unusable(machine)


def state_is_off(evidence: Evidence) -> bool:
    """CPUID (or, where it is mute, the kernel) claims it and its operating-system state is off."""
    return evidence.claimed is True and evidence.os is False


def _state_off(machine: Machine) -> Iterator[Finding]:
    """One CP101 for each lowest missing component: all that needs YMM falls with it."""
    families: dict[str, list[X86Feature]] = {}
    linux = machine.observation.kernel.release is not None
    for name, groups in machine.showing(state_is_off).items():
        feature = machine.table[name]
        # A CR4 bit that a system never sets withholds nothing which its own programs expect; only
        # of Linux is it known that CPUID and /proc/cpuinfo then promise too much.
        if feature.os in ("ospke", "fsgsbase") and not linux:
            continue
        untold = [group for group in groups if not _told_elsewhere(group)]
        if untold:
            families.setdefault(_missing(untold[0], feature), []).append(feature)
    for missing, features in families.items():
        listed = [feature.name for feature in features]
        cpus = machine.cpus_where(
            lambda group, listed=listed: any(state_is_off(group.features[n]) for n in listed)
        )
        why, evidence = why_state_off(machine, features)
        yield finding(
            "CP101",
            listed,
            cpus,
            [
                f"CPUID enumerates {names(listed)}",
                missing,
                *_executions(machine, listed),
                *evidence,
            ],
            why,
        )


def _told_elsewhere(group: GroupEvidence) -> bool:
    """Whether there is no CPUID here, and CP105 or CP602 says what CP101 would."""
    return group.listed_without_xsave or (group.avx_off and not group.cpuid)


def _listed_without_xsave(machine: Machine) -> Iterator[Finding]:
    """Linux prints xsave wherever CR4.OSXSAVE is set: without it no state beyond SSE's is on."""
    without = [group for group in machine.groups if group.listed_without_xsave]
    listed = [
        name
        for name, feature in machine.table.items()
        if feature.xcr0 and any(group.features[name].kernel for group in without)
    ]
    if listed:
        flags = [machine.table[name].kernel.flag or name for name in listed]
        yield finding(
            "CP105",
            listed,
            sorted(cpu for group in without for cpu in group.measured.cpus),
            [f"the kernel's list is whole, has {names(flags)}, and has no xsave"],
        )


def _missing(group: GroupEvidence, feature: X86Feature) -> str:
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


def _executions(machine: Machine, listed: list[str]) -> Iterator[str]:
    failed = [
        name
        for name in listed
        if any(group.features[name].runs is False for group in machine.groups)
    ]
    if failed:
        outcomes = sorted({str(machine.features[name].ran) for name in failed})
        yield f"executing {names(failed)}: {', '.join(outcomes)}"
    ran = [
        name
        for name in listed
        if machine.observation.executed
        and any(group.features[name].runs is True for group in machine.groups)
    ]
    if ran:
        yield f"executing {names(ran)}: ok, all the same"


def _withheld_by_kernel(machine: Machine) -> Iterator[Finding]:
    """CP102, one a cause. What CP101 explains is not reported twice."""
    by_cause: dict[tuple[Cause, tuple[str, ...]], list[str]] = {}
    for name in machine.showing(
        lambda evidence: (
            evidence.kernel is False and evidence.cpuid is True and evidence.os is not False
        )
    ):
        reason, lines = why_not_listed(machine, [machine.table[name]])
        by_cause.setdefault((reason, tuple(lines)), []).append(name)
    for (why, proof), listed in by_cause.items():
        flags = [machine.table[name].kernel.flag or name for name in listed]
        cpus = machine.cpus_where(
            lambda group, listed=listed: any(group.features[n].kernel is False for n in listed)
        )
        yield finding(
            "CP102",
            listed,
            cpus,
            [
                f"CPUID enumerates {names(listed)}",
                f"/proc/cpuinfo does not list {names(flags)}, which {_release(machine)} knows",
                *_executions(machine, listed),
                *proof,
            ],
            why,
        )


def _release(machine: Machine) -> str:
    told = machine.observation.kernel.release
    return f"Linux {told}" if told else "every Linux in use"


def _gated(machine: Machine) -> Iterator[Finding]:
    listed = machine.in_state("gated")
    if not listed:
        return
    permission = machine.observation.amx_permission
    before = {
        str(group.features[name].ran_before_permission)
        for group in machine.groups
        for name in listed
        if group.features[name].ran_before_permission is not None
    }
    evidence = [f"arch_prctl(ARCH_REQ_XCOMP_PERM, 18): {permission}"]
    if before:
        evidence.append(f"before the permission: {', '.join(sorted(before))}; after it: ok")
    yield finding("CP103", listed, machine.all_cpus, evidence)


def _listed_but_unusable(machine: Machine) -> Iterator[Finding]:
    where = {
        name: lying
        for name, groups in machine.showing(
            lambda evidence: (
                evidence.kernel is True and (evidence.os is False or evidence.runs is False)
            )
        ).items()
        if machine.table[name].encoding != "amx"
        and (lying := [group for group in groups if not _told_elsewhere(group)])
    }
    if not where:
        return
    listed = list(where)
    flags = [machine.table[name].kernel.flag or name for name in listed]
    cpus = cpus_of(group for groups in where.values() for group in groups)
    off = [n for n in listed if any(group.features[n].os is False for group in machine.groups)]
    evidence = [f"/proc/cpuinfo lists {names(flags)}", *_executions(machine, listed)]
    if off:
        evidence.append(f"register state off for {names(off)}")
    yield finding("CP104", listed, cpus, evidence)
