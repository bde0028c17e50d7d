"""What holds for every observation whatever."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.fakes import (
    ALDER_LAKE_N,
    GDS_DISABLED,
    HASWELL,
    SKYLAKE,
    candidates,
    cpuinfo,
    group,
    observation,
)

from cpuprobe.assessment import assess
from cpuprobe.evidence.observation import CpuGroup, Observation, Outcome
from cpuprobe.facts.features import load_features

TABLE = load_features()
NAMES = tuple(TABLE)
OUTCOMES: tuple[Outcome, ...] = ("ok", "sigill", "sigsegv", "wrong", "timeout", "killed", "skipped")
BAD: tuple[Outcome, ...] = (
    "sigill",
    "sigsegv",
    "sigbus",
    "sigfpe",
    "sigtrap",
    "wrong",
    "timeout",
    "killed",
)

feature_sets = st.frozensets(st.sampled_from(NAMES))


@st.composite
def groups(draw: st.DrawFn, cpus: tuple[int, ...] = (0, 1)) -> CpuGroup:
    """CPUs with any claims, any XCR0 and any outcomes; half of them mostly coherent."""
    claimed = draw(feature_sets)
    if draw(st.booleans()):
        claimed = claimed.union(*(TABLE.closure(name) for name in claimed))
    return group(
        claimed,
        cpus=cpus,
        xcr0=draw(st.sampled_from([None, 0x1, 0x3, 0x7, 0xE7, 0x602E7, 0xE02E7])),
        osxsave=draw(st.booleans()),
        outcomes=draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(OUTCOMES))),
        signature=draw(st.sampled_from([SKYLAKE, HASWELL, ALDER_LAKE_N])),
        hypervisor=draw(st.sampled_from([None, "KVMKVMKVM"])),
    )


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    """Machines with one or two kinds of CPU and any kernel's word."""
    several: tuple[CpuGroup, ...] = (draw(groups((0, 1))),)
    if draw(st.booleans()):
        several += (draw(groups((2,))),)
    return observation(
        several,
        blocks=draw(st.sampled_from([None, (cpuinfo(draw(feature_sets), cpus=(0, 1, 2)),)])),
        release=draw(st.sampled_from([None, "4.4.0", "6.1.0", "6.18.2"])),
        gds=draw(st.sampled_from([None, "Not affected", GDS_DISABLED, "Vulnerable"])),
        cmdline=draw(
            st.sampled_from([None, (), ("gather_data_sampling=force",), ("clearcpuid=avx",)])
        ),
        wasmtime=draw(st.sampled_from([None, "8.0.0", "47.0.1", "50.0.1", "99.0.0"])),
    )


def safe(machine: Observation) -> set[str]:
    return {name for name, feature in assess(machine).features.items() if feature.safe}


@given(observations())
def test_safe_sets_are_closed_downwards(machine):
    """What is safe builds only on what is safe, and flags follow."""
    assessment = assess(machine)

    for name, feature in assessment.features.items():
        if feature.safe:
            assert all(assessment.features[each].safe for each in TABLE.closure(name)), name
    on = {flag for flag, value in assessment.cranelift.items() if value}
    for flag in on:
        closure = TABLE.closure(TABLE.by_cranelift[flag].name)
        needed = {TABLE[name].cranelift for name in closure} & set(assessment.cranelift)
        assert needed <= on, flag


@given(observations())
def test_a_flag_is_on_only_for_a_safe_feature(machine):
    """No flag is true unless its feature is safe; every flag has a value and a reason to be off."""
    assessment = assess(machine)

    for flag, value in assessment.cranelift.items():
        feature = TABLE.by_cranelift.get(flag)
        if value:
            assert feature is not None
            assert assessment.features[feature.name].safe
        else:
            assert assessment.cranelift_off[flag]


@given(observations(), st.data())
def test_a_bad_outcome_makes_nothing_safe(machine, data):
    """Turning any outcome bad never makes a feature safe that was not."""
    number = data.draw(st.integers(0, len(machine.groups) - 1))
    place = data.draw(st.integers(0, len(candidates()) - 1))
    ran = list(machine.groups[number].ran)
    ran[place] = data.draw(st.sampled_from(BAD))
    changed = msgspec.structs.replace(machine.groups[number], ran=tuple(ran))
    worse = msgspec.structs.replace(
        machine, groups=(*machine.groups[:number], changed, *machine.groups[number + 1 :])
    )

    assert safe(worse) <= safe(machine)


@given(observations(), st.data())
def test_clearing_an_xcr0_bit_makes_nothing_safe(machine, data):
    """Less enabled state never makes a feature safe."""
    number = data.draw(st.integers(0, len(machine.groups) - 1))
    before = machine.groups[number]
    if before.xcr0 is None:
        return
    bit = data.draw(st.sampled_from([1, 2, 5, 6, 7, 17, 18, 19]))
    changed = msgspec.structs.replace(before, xcr0=before.xcr0 & ~(1 << bit))
    worse = msgspec.structs.replace(
        machine, groups=(*machine.groups[:number], changed, *machine.groups[number + 1 :])
    )

    assert safe(worse) <= safe(machine)


@given(observations(), st.data())
def test_a_kernel_that_unlists_makes_nothing_safe(machine, data):
    """Taking a name off /proc/cpuinfo never makes a feature safe."""
    if machine.cpuinfo is None:
        return
    fields = machine.cpuinfo[0].fields
    flags = fields["flags"].split()
    if not flags:
        return
    gone = data.draw(st.sampled_from(flags))
    fewer = {**fields, "flags": " ".join(flag for flag in flags if flag != gone)}
    block = msgspec.structs.replace(machine.cpuinfo[0], fields=fewer)

    assert safe(msgspec.structs.replace(machine, cpuinfo=(block,))) <= safe(machine)


@given(observations(), groups((7,)))
def test_another_cpu_makes_nothing_safe(machine, other):
    """One more CPU of any kind can only take features away."""
    more = msgspec.structs.replace(machine, groups=(*machine.groups, other))

    assert safe(more) <= safe(machine)


@given(observations())
@examples(50)
def test_the_order_of_cpus_does_not_matter(machine):
    """Groups in any order give the same bytes, and so does a second assessment."""
    backwards = msgspec.structs.replace(machine, groups=machine.groups[::-1])
    first = msgspec.json.encode(assess(machine))

    assert msgspec.json.encode(assess(machine)) == first
    assert msgspec.json.encode(assess(backwards)) == first


@given(observations())
@examples(50)
def test_a_report_can_be_assessed_again(machine):
    """An observation written to JSON and read back gives the same assessment."""
    again = msgspec.json.decode(msgspec.json.encode(machine), type=Observation)

    assert msgspec.json.encode(assess(again)) == msgspec.json.encode(assess(machine))


@given(observations())
def test_gds_is_never_the_cause_off_the_list(machine):
    """Only a CPU of the kernel's list, outside a guest, can have a GDS cause."""
    assessment = assess(machine)
    identity = assessment.identity
    listed = (identity.family, identity.model, identity.stepping) == SKYLAKE

    for finding in assessment.findings:
        if "Gather Data Sampling" in finding.cause:
            assert listed
            assert identity.hypervisor is None


@given(observations())
def test_errors_make_the_verdict(machine):
    """The verdict is mismatch exactly when a finding is an error."""
    assessment = assess(machine)

    errors = [finding for finding in assessment.findings if finding.severity == "error"]
    assert (assessment.verdict == "mismatch") is bool(errors)
