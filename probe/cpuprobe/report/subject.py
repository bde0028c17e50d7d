"""What a report is about: one machine with everything said of it, and the words for it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import msgspec

from cpuprobe.assessment import assess
from cpuprobe.assessment.causes import set_aside
from cpuprobe.assessment.model import Assessment, FeatureAssessment
from cpuprobe.evidence.block import armoured
from cpuprobe.evidence.observation import Observation
from cpuprobe.evidence.witnesses import ExternalWitnesses
from cpuprobe.facts.gds import GDS_FILE
from cpuprobe.facts.hypervisors import hypervisor_called, hypervisor_row
from cpuprobe.report.document import SCHEMA, make_report, to_json
from cpuprobe.report.installed import inference_lines, introspection_lines
from cpuprobe.report.spoken import spoken
from cpuprobe.report.verdict import identity_words, told
from cpuprobe.version import VERSION
from cpuprobe.wasm.installed import Inference, Introspection
from cpuprobe.words import HERE, counted, cpu_list, plain

ISSUE_LIMIT = 65_536  # characters: GitHub refuses a longer body of an issue or comment

# States that say the witnesses agree, or that there is nothing to agree on.
QUIET_STATES = frozenset({"usable", "absent", "unverified", "unknown"})


class Kind(msgspec.Struct, frozen=True):
    """The CPUs of a machine that are alike, and what is said of them alone."""

    cpus: tuple[int, ...]
    features: dict[str, FeatureAssessment]


class ReportedMachine(msgspec.Struct, frozen=True):
    """One machine of a report.

    Attributes:
        name: what the user calls it: `this machine`, or the capture's file name.
        observation: what was measured.
        assessment: what it means.
        surroundings: what else was asked.
        introspection: what the installed wasmtime says of itself; None where it was not asked.
        inference: that beside what the model of it expects.
        block: the report file as a data block, without a line end at its end.
        short_block: the same with no more than the observation: `cpuprobe inspect` makes the
            assessment again.
        kinds: for a machine whose CPUs differ, each kind of them; else none.
    """

    name: str
    observation: Observation
    assessment: Assessment
    surroundings: ExternalWitnesses
    block: str
    short_block: str
    kinds: tuple[Kind, ...] = ()
    introspection: Introspection | None = None
    inference: Inference | None = None


def key_facts(subject: ReportedMachine) -> Iterator[tuple[str, str]]:
    """What a reader needs first, as label and value."""
    brand, *rest = identity_words(subject.assessment)
    yield "CPU", f"{brand}, {rest[0]}"
    system = [*rest[1:], *filter(None, [subject.surroundings.distribution])]
    yield "system", ", ".join(system) or "not recorded"
    yield spoken(subject.assessment).ladder, level_words(subject.assessment)
    yield "measured by", _measured_by(subject)


def until(subject: ReportedMachine) -> str:
    """The command that writes out what wasmtime has to be told until it is mended."""
    on = "" if subject.name == HERE else f" --on {shlex.quote(plain(subject.name))}"
    return f"cpuprobe flags{on} --only-off --format cli"


def level_words(assessment: Assessment) -> str:
    """The psABI level of what is safe, and of what CPUID alone claims."""
    if assessment.verdict == "insufficient":
        return told(assessment)
    safe, advertised = assessment.level, assessment.advertised_level
    return f"{safe or 'none'} safe, {advertised or 'none'} advertised by {spoken(assessment).claim}"


def _measured_by(subject: ReportedMachine) -> str:
    observation = subject.observation
    ran = observation.ran_on_each
    executed = f"{counted(ran, 'instruction') if ran else 'instructions'} executed on each CPU"
    if not observation.executed:
        executed = "nothing was executed"
    source = f"cpuprobe {VERSION}"
    if observation.source != "probe":
        source += f" from another program's text ({observation.source})"
    elif subject.name != HERE:
        source += f" from {subject.name}"
    return f"{source}: {executed}"


def facts(subject: ReportedMachine) -> Iterator[tuple[str, str]]:
    """Who the machine is, as label and value; every value may come from a hostile capture."""
    identity, observation = subject.assessment.identity, subject.observation
    yield "CPU", identity.brand or "brand not recorded"
    if identity.vendor:
        yield "vendor", identity.vendor
    signature = (identity.family, identity.model, identity.stepping)
    numbers = [each for each in signature if each is not None]
    if len(numbers) == len(signature):
        decimal, hexadecimal = "/".join(map(str, numbers)), "/".join(map(hex, numbers))
        yield "family/model/stepping", f"{decimal} ({hexadecimal})"
    found = subject.surroundings.microarchitecture
    if found is not None:
        yield "microarchitecture", f"{found.name}, by features ({found.library})"
    yield "microcode", identity.microcode or "not recorded"
    yield "kernel", f"Linux {identity.kernel}" if identity.kernel else "not recorded"
    if subject.surroundings.distribution is not None:
        yield "distribution", subject.surroundings.distribution
    if identity.hypervisor:
        name, word = hypervisor_called(identity.hypervisor), identity.hypervisor
        yield "hypervisor", word if name == word else f"{name} ({word})"
    else:
        yield "hypervisor", f"none that {spoken(subject.assessment).claim} shows"
    container = subject.surroundings.container or _container(subject)
    if container:
        yield "container", container
    emulator = _emulator(subject)
    if emulator:
        yield "emulator or translator", emulator
    cpus = [cpu for group in observation.groups for cpu in group.cpus]
    kinds = len(observation.groups)
    alike = f", of {kinds} kinds" if kinds > 1 else ""
    yield "CPUs", f"{counted(len(cpus), 'CPU')}, numbered {cpu_list(cpus)}{alike}"
    yield spoken(subject.assessment).ladder, level_words(subject.assessment)
    if observation.cmdline:
        yield "kernel command line", " ".join(observation.cmdline) + " (known words only)"
    yield "measured by", _measured_by(subject)


def vulnerabilities(subject: ReportedMachine) -> Iterator[tuple[str, str]]:
    """The kernel's words on the CPU's flaws, by file of sysfs; the one that matters here first."""
    told = subject.observation.vulnerabilities
    yield from sorted(told.items(), key=lambda each: each[0] != GDS_FILE)


def _container(subject: ReportedMachine) -> str | None:
    """The container that shows in the observation itself."""
    mount = subject.observation.cpuinfo_mount
    if mount is not None:
        return "LXC (lxcfs)" if mount == "fuse.lxcfs" else f"yes: /proc/cpuinfo is a {mount} mount"
    return "gVisor" if subject.assessment.kernel_set_aside == "gvisor" else None


def _emulator(subject: ReportedMachine) -> str | None:
    """An emulator or translator that the observation gives away.

    Rosetta 2 calls its CPU "VirtualApple"; QEMU's user mode shows the host's /proc/cpuinfo.
    """
    identity = subject.assessment.identity
    if (identity.brand or "").startswith("VirtualApple"):
        return "Rosetta 2"
    emulator: str | None = hypervisor_row(identity.hypervisor).get("emulator")
    if emulator is not None:
        return emulator
    reason = subject.assessment.kernel_set_aside
    return set_aside(reason) if reason in ("no-flags", "no-features", "another-cpu") else None


def disagreeing(assessment: Assessment) -> dict[str, FeatureAssessment]:
    """The features on which the witnesses disagree: in an unquiet state, or named in a finding."""
    named = {
        name
        for finding in assessment.findings
        if finding.severity != "info"
        for name in finding.features
    }
    return {
        name: feature
        for name, feature in assessment.features.items()
        if feature.state not in QUIET_STATES or name in named
    }


def make_subject(
    name: str,
    observation: Observation,
    assessment: Assessment,
    surroundings: ExternalWitnesses,
    introspection: Introspection | None = None,
    inference: Inference | None = None,
) -> ReportedMachine:
    """A machine with its report file, as it goes into Markdown and HTML."""
    report = make_report(observation, assessment, introspection, inference)
    short = {"schema": SCHEMA, "cpuprobe": report.cpuprobe, "observation": observation}
    return ReportedMachine(
        name=name,
        observation=observation,
        assessment=assessment,
        surroundings=surroundings,
        block=armoured(to_json(report)),
        short_block=armoured(msgspec.json.encode(short)),
        kinds=tuple(_kinds(observation)),
        introspection=introspection,
        inference=inference,
    )


def _kinds(observation: Observation) -> Iterator[Kind]:
    if len(observation.groups) > 1:
        for group in sorted(observation.groups, key=lambda each: min(each.cpus)):
            alone = msgspec.structs.replace(observation, groups=(group,))
            yield Kind(tuple(group.cpus), assess(alone).features)


def installed(machine: ReportedMachine) -> list[str]:
    """What the installed wasmtime says of itself, a sentence each; nothing if it was not asked."""
    if machine.introspection is None:
        return []
    inferred = () if machine.inference is None else inference_lines(machine.inference)
    return [*introspection_lines(machine.introspection), *inferred]
