"""CP102 to CP104: what the kernel withholds, gates by permission, or lists wrongly."""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.assessment.machine import Machine, cpus_of
from cpuprobe.assessment.model import Finding
from cpuprobe.assessment.witnesses import Evidence, GroupEvidence
from cpuprobe.assessment.x86_64 import X86Evidence
from cpuprobe.words import names


def listing_findings(machine: Machine) -> Iterator[Finding]:
    """The findings of this family."""
    yield from _withheld_by_kernel(machine)
    yield from _gated(machine)
    yield from _listed_but_unusable(machine)


def state_is_off(evidence: Evidence) -> bool:
    """CPUID (or, where it is mute, the kernel) claims it and its operating-system state is off."""
    return evidence.claimed is True and evidence.os is False


def told_elsewhere(group: GroupEvidence) -> bool:
    """Whether there is no CPUID here, and CP105 or CP602 says what CP101 would."""
    if not isinstance(group, X86Evidence):
        return False
    return group.listed_without_xsave or (group.avx_off and not group.cpuid)


def executions(machine: Machine, listed: list[str]) -> Iterator[str]:
    """What executing those features showed, in words."""
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
    unlisted = machine.showing(
        lambda evidence: (
            evidence.kernel is False and evidence.cpuid is True and evidence.os is not False
        )
    )
    for listed, why, proof in machine.by_cause(unlisted, machine.isa.causes.not_listed):
        flags = [machine.table[name].kernel.flag or name for name in listed]
        cpus = machine.cpus_where(
            lambda group, listed=listed: any(group.features[n].kernel is False for n in listed)
        )
        yield machine.finding(
            "CP102",
            listed,
            cpus,
            [
                f"{machine.isa.words.enumerates} {names(listed)}",
                f"{_list(machine)} does not list {names(flags)}, which {_release(machine)} knows",
                *executions(machine, listed),
                *proof,
            ],
            why,
        )


def _list(machine: Machine) -> str:
    """Where the kernel lists features; on aarch64 HWCAP stands in for a list that is set aside."""
    return "/proc/cpuinfo" if machine.kernel.set_aside is None else "AT_HWCAP"


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
        told = before - {"skipped"} or before  # the first that dies speaks for those behind it
        evidence.append(f"before the permission: {', '.join(sorted(told))}; after it: ok")
    yield machine.finding("CP103", listed, machine.all_cpus, evidence)


def _listed_but_unusable(machine: Machine) -> Iterator[Finding]:
    where = {
        name: lying
        for name, groups in machine.showing(
            lambda evidence: (
                evidence.kernel is True and (evidence.os is False or evidence.runs is False)
            )
        ).items()
        if not machine.table[name].needs_permission
        and (lying := [group for group in groups if not told_elsewhere(group)])
    }
    if not where:
        return
    listed = list(where)
    flags = [machine.table[name].kernel.flag or name for name in listed]
    cpus = cpus_of(group for groups in where.values() for group in groups)
    off = [n for n in listed if any(group.features[n].os is False for group in machine.groups)]
    evidence = [f"{_list(machine)} lists {names(flags)}", *executions(machine, listed)]
    if off:
        evidence.append(f"register state off for {names(off)}")
    yield machine.finding("CP104", listed, cpus, evidence)
