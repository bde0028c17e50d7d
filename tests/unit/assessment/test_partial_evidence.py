"""Unknown is unknown: what partial texts allow to be said, on machines built in Python."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.fakes import V1, V2, V3, V4, cpuinfo, group, leaves, observation

from cpuprobe.assessment import Assessment, assess
from cpuprobe.assessment.states import merge
from cpuprobe.evidence.observation import (
    Claims,
    CpuGroup,
    CpuidLeaf,
    Cpuinfo,
    Kernel,
    Observation,
    ToldIdentity,
)
from cpuprobe.facts.features import load_features

GDS_OFF = {"gather_data_sampling": "Mitigation: AVX disabled, no microcode"}


def told(*claims: Claims, cpus: tuple[int, ...] = (0,), **more: Any) -> Observation:
    return Observation(
        source="text", executed=False, groups=(CpuGroup(cpus=cpus),), claims=claims, **more
    )


def listing(words: str, **more: Any) -> Observation:
    incomplete = more.pop("incomplete", None)
    return told(cpuinfo=(Cpuinfo((0,), {"flags": words}, incomplete),), **more)


def words(*features: str) -> str:
    return str(cpuinfo(features).fields["flags"]) + " lm"


def states(assessment: Assessment, *features: str) -> list[str]:
    return [assessment.features[name].state for name in features]


def codes(assessment: Assessment) -> set[str]:
    return {finding.code for finding in assessment.findings}


def levels(assessment: Assessment) -> tuple[str | None, str | None, str | None]:
    return assessment.level, assessment.level_at_least, assessment.level_at_most


# --- nothing, and a little ------------------------------------------------------------------------


def test_a_text_that_tells_nothing_grants_and_denies_nothing():
    """Every feature is unknown, no flag is on, and the verdict is that too little is known."""
    assessment = assess(told(), "50")

    assert {feature.state for feature in assessment.features.values()} == {"unknown"}
    assert not any(feature.safe for feature in assessment.features.values())
    assert not any(assessment.cranelift.values())
    assert assessment.verdict == "insufficient"
    assert (assessment.known.features, assessment.known.of) == (0, len(load_features()))
    assert levels(assessment) == (None, None, "x86-64-v4")
    assert codes(assessment) == set()


def test_a_cut_list_denies_nothing():
    """From a list that breaks off nothing is absent, and CP102 and CP502 are not raised."""
    machine = listing("fpu vme sse", incomplete="cut", kernel=Kernel("6.1.0"))
    beside_cpuid = observation(
        group(V3, executed=False), blocks=(Cpuinfo((0, 1), {"flags": "fpu sse"}, "cut"),)
    )

    assert "absent" not in {each.state for each in assess(machine).features.values()}
    assert codes(assess(machine)) == set()
    assert states(assess(machine), "x87", "sse", "sse2") == ["unverified", "unverified", "unknown"]
    assert not codes(assess(beside_cpuid)) & {"CP102", "CP502", "CP301"}


def test_what_builds_on_the_unknown_is_not_safe():
    """AVX2 claimed without a word on AVX keeps its flag off, and says so."""
    assessment = assess(told(Claims(source="x", witness="cpuid+os", yes=("avx2", "sse2"))), "50")

    assert assessment.features["avx2"].cpuid is True
    assert not assessment.features["avx2"].safe
    assert assessment.cranelift["has_avx2"] is False
    assert "builds on" in assessment.cranelift_off["has_avx2"]
    assert assessment.cranelift_off["has_avx"] == "avx is unknown"


@pytest.mark.parametrize(
    ("listed", "bounds"),
    [
        (V1, ("x86-64-v1", "x86-64-v4")),
        (V3, ("x86-64-v3", "x86-64-v4")),
        (V4, ("x86-64-v4", "x86-64-v4")),
        (("sse2",), (None, "x86-64-v4")),
    ],
)
def test_bounds_of_a_cut_list(listed: tuple[str, ...], bounds: tuple[str | None, str]):
    """What is listed bounds the level from below; from above nothing does."""
    assessment = assess(listing(words(*listed), incomplete="short"))

    assert levels(assessment)[1:] == bounds
    assert assessment.level == (bounds[0] if bounds[0] == bounds[1] else None)
    assert assessment.verdict == ("consistent" if bounds[0] == bounds[1] else "insufficient")


# --- whole lists, and the age of their kernels ----------------------------------------------------


def test_a_whole_list_without_a_release_denies_old_names_only():
    """Every Linux since 3.6 prints avx2; of VAES (4.15) a list says nothing by not naming it."""
    assessment = assess(listing(words(*V2, "xsave")))

    assert states(assessment, "avx", "avx2", "bmi") == ["absent"] * 3
    assert states(assessment, "vaes", "avx512f", "sha") == ["unknown"] * 3
    assert levels(assessment) == ("x86-64-v2", "x86-64-v2", "x86-64-v2")
    assert assessment.verdict == "consistent"


def test_a_whole_list_decides_the_level():
    """AVX-512 may be there under a kernel without its names; the level is of what is listed."""
    assessment = assess(listing(words(*V3)))
    old = assess(listing(words(*V3), kernel=Kernel("3.10.0")))

    assert assessment.features["avx512f"].state == "unknown"
    assert levels(assessment) == ("x86-64-v3", "x86-64-v3", "x86-64-v4")
    assert assessment.verdict == "consistent"
    assert (levels(old)[0], old.verdict) == (None, "insufficient")


@pytest.mark.parametrize(
    ("more", "vulnerabilities", "release", "denied"),
    [
        ("", {}, None, set()),
        ("vaes", {}, None, {"gfni", "sha", "avx512f"}),
        ("sha_ni", {}, None, {"avx512f"}),
        ("", {"gather_data_sampling": "Not affected"}, None, {"sha", "avx512f"}),
        ("", {"tsa": "Not affected"}, None, {"gfni", "sha", "avx512f"}),
        ("", {}, "4.15.0", {"gfni", "sha", "avx512f"}),
        ("", {}, "3.10.0-1160.el7", set()),
    ],
)
def test_what_proves_the_age_of_a_kernel(
    more: str, vulnerabilities: dict[str, str], release: str | None, denied: set[str]
):
    """Young names are denied where a release, a younger word or a row proves their age."""
    machine = listing(
        f"{words(*V3)} {more}", vulnerabilities=vulnerabilities, kernel=Kernel(release)
    )
    assessment = assess(machine)

    seen = {n for n in ("gfni", "sha", "avx512f") if assessment.features[n].state == "absent"}
    assert seen == denied


def test_a_release_that_is_told_is_believed_over_the_oldest_in_use():
    """Linux 2.6.32 has no name for AVX2 or F16C: not naming them says nothing."""
    listed = words(*V2, "avx", "fma", "lzcnt", "movbe", "xsave")
    assessment = assess(listing(listed, kernel=Kernel("2.6.32")))

    assert states(assessment, "avx2", "f16c", "bmi") == ["unknown"] * 3
    assert levels(assessment)[1:] == ("x86-64-v2", "x86-64-v4")


def test_lm_stands_for_syscall():
    """A 32-bit kernel on Intel does not print syscall, which long mode has always."""
    listed = [name for name in V1 if name != "syscall"]

    assert assess(listing(words(*listed))).features["syscall"].kernel is True
    assert assess(listing("fpu sse")).features["syscall"].state == "absent"


def test_a_list_without_xsave_takes_avx_away():
    """AVX-class words in a whole list without xsave: CP105, and none of their flags is on."""
    listed = [name for name in V3 if name != "xsave"]
    assessment = assess(listing(words(*listed)), "50")
    finding = next(each for each in assessment.findings if each.code == "CP105")

    assert finding.features == ("avx", "f16c", "fma", "avx2")
    assert codes(assessment) == {"CP105"}
    assert states(assessment, "avx", "avx2", "xsave") == ["withheld", "withheld", "absent"]
    assert assessment.cranelift["has_avx"] is assessment.cranelift["has_fma"] is False
    assert assessment.cranelift["has_bmi1"] is assessment.cranelift["has_lzcnt"] is True
    assert (assessment.verdict, assessment.level) == ("mismatch", "x86-64-v2")


def test_a_cut_list_without_xsave_takes_nothing_away():
    """Where the list may go on, a missing xsave says nothing."""
    listed = [name for name in V3 if name != "xsave"]

    assert codes(assess(listing(words(*listed), incomplete="cut"))) == set()


# --- GDS, without CPUID ---------------------------------------------------------------------------


def test_the_kernel_says_that_it_has_switched_avx_off():
    """CP602 where no CPUID is there to compare with; AVX is withheld and the level bounded."""
    assessment = assess(told(vulnerabilities=GDS_OFF))

    assert codes(assessment) == {"CP602"}
    assert states(assessment, "avx", "sse4.2") == ["withheld", "unknown"]
    assert not assessment.features["avx2"].safe
    assert levels(assessment) == (None, None, "x86-64-v2")
    assert assessment.verdict == "mismatch"


def test_boot_lines_tell_xcr0_and_a_cpu_without_its_vendor():
    """XCR0 without AVX beside the kernel's words is no contradiction; nor is an unknown vendor."""
    machine = Observation(
        source="dmesg",
        executed=False,
        groups=(CpuGroup(cpus=(0,), xcr0=3),),
        vulnerabilities=GDS_OFF,
        identity=ToldIdentity(family=6, model=0x5E, stepping=3),
    )
    contradicted = msgspec.structs.replace(machine, groups=(CpuGroup(cpus=(0,), xcr0=7),))

    assert codes(assess(machine)) == {"CP601", "CP602"}
    assert assess(machine).features["avx"].state == "withheld"
    assert "CP602" not in codes(assess(contradicted))


def test_with_cpuid_it_is_cp101():
    """The same words beside CPUID without XCR0: CPUID claims what is off."""
    machine = told(vulnerabilities=GDS_OFF)
    claiming = Observation(
        source="x",
        executed=False,
        groups=(CpuGroup(cpus=(0,), cpuid=leaves(V3)),),
        vulnerabilities=GDS_OFF,
    )

    assert "CP602" in codes(assess(machine))
    assert codes(assess(claiming)) >= {"CP101", "CP601"}
    assert "CP602" not in codes(assess(claiming))
    assert states(assess(claiming), "avx", "avx2") == ["withheld", "withheld"]


def test_a_cpu_without_the_flaw_makes_it_somebody_s_mistake():
    """The words are not believed of a Zen 4, be it known by a text alone."""
    zen4 = ToldIdentity(vendor="AuthenticAMD", family=25, model=0x61, stepping=2)

    assert codes(assess(told(vulnerabilities=GDS_OFF, identity=zen4))) == set()


# --- claims by name -------------------------------------------------------------------------------


def test_claims_speak_as_their_witness():
    """Each kind of claim fills the column of the witness whose word it is."""
    features = assess(
        told(
            Claims(source="a", witness="cpuid", yes=("sse2",), no=("sse3",)),
            Claims(source="b", witness="os", yes=("avx",), no=("avx512f",)),
            Claims(source="c", witness="kernel", yes=("fma",), no=("bmi",)),
        )
    ).features

    assert (features["sse2"].cpuid, features["sse3"].cpuid) == (True, False)
    assert (features["avx"].os, features["avx512f"].os, features["avx512bw"].os) == (
        True,
        False,
        False,
    )
    assert (features["avx"].cpuid, features["avx2"].os) == (None, True)
    assert (features["fma"].kernel, features["bmi"].kernel) == (True, False)
    assert (features["bmi"].state, features["avx"].state) == ("absent", "unknown")


def test_what_is_claimed_is_advertised_where_osxsave_is_not_told():
    """`cpuid -1` prints leaves that it does not know raw beside the names of the others."""
    named = told(Claims(source="cpuid-decoded", witness="cpuid", yes=tuple(sorted(V3))))
    raw = CpuGroup(cpus=(0,), cpuid=(CpuidLeaf(0x24, 0, 0, 0x70001, 0, 0),))
    assessments = [assess(named), assess(msgspec.structs.replace(named, groups=(raw,)))]
    off = assess(observation(group(V3, osxsave=False, executed=False), listed=V2))

    assert [each.advertised_level for each in assessments] == ["x86-64-v3"] * 2
    assert off.advertised_level == "x86-64-v2"


def test_a_detectors_no_is_cpuids_where_no_leave_is_needed():
    """Of BMI a detector's no is CPUID's; of AVX-512 it may be the state's, and counts as well."""
    features = assess(
        told(Claims(source="numpy", witness="cpuid+os", yes=("avx2",), no=("bmi", "avx512f")))
    ).features

    assert (features["bmi"].cpuid, features["bmi"].state) == (False, "absent")
    assert (features["avx512f"].cpuid, features["avx512f"].os) == (None, None)
    assert (features["avx512f"].state, features["avx512f"].safe) == ("absent", False)
    assert (features["avx2"].cpuid, features["avx2"].os) == (True, True)


def test_raw_cpuid_is_believed_over_claims():
    """A claim fills in only what was not measured."""
    measured = CpuGroup(cpus=(0,), cpuid=leaves(V2), xcr0=3)
    claim = Claims(source="x", witness="cpuid+os", yes=("avx",), no=("sse4.2",))
    machine = Observation(source="x", executed=False, groups=(measured,), claims=(claim,))
    features = assess(machine).features

    assert (features["avx"].cpuid, features["avx"].os) == (False, False)
    assert features["sse4.2"].cpuid is True


def test_levels_told_as_such():
    """`ld.so --help` says v3 is there and v4 is not: the level is decided, its features are not."""
    claim = Claims(source="ld.so", witness="cpuid+os", level="x86-64-v3", not_level="x86-64-v4")
    assessment = assess(told(claim), "50")

    assert levels(assessment) == ("x86-64-v3",) * 3
    assert states(assessment, "avx2", "avx512f", "aes") == ["unverified", "unknown", "unknown"]
    assert assessment.cranelift["has_avx2"] and not assessment.cranelift["has_avx512f"]
    assert assessment.known.features == len(V3)


def test_a_denied_feature_bounds_the_level():
    """No AVX-512F: at most v3, whatever else is unknown."""
    claim = Claims(source="x", witness="cpuid+os", yes=("sse2",), no=("avx512f",))

    assert levels(assess(told(claim))) == (None, None, "x86-64-v3")


def test_two_claims_that_contradict_each_other():
    """The denial stands."""
    features = assess(
        told(
            Claims(source="a", witness="cpuid", yes=("aes",)),
            Claims(source="b", witness="cpuid", no=("aes",)),
        )
    ).features

    assert features["aes"].cpuid is False


def test_names_that_nobody_knows_are_ignored():
    """A claim on a feature or level outside the tables changes nothing."""
    claim = Claims(source="x", witness="os", yes=("warp",), no=("flux",), not_level="x86-64-v9")

    assert assess(told(claim)) == assess(told())


# --- blocks that differ, 32 bits ------------------------------------------------------------------


def test_blocks_that_differ_are_an_uneven_machine():
    """CPU 1 of one cpuinfo lacks avx2, which CPU 0 lists: CP301, and avx2 is not safe."""
    blocks = (
        Cpuinfo((0,), {"flags": words(*V3)}),
        Cpuinfo((1,), {"flags": words(*(n for n in V3 if n != "avx2"))}),
    )
    assessment = assess(told(cpuinfo=blocks, cpus=(0, 1)))

    assert codes(assessment) == {"CP301"}
    assert assessment.findings[0].evidence == ("avx2: absent on CPU 1, unverified on CPU 0",)
    assert (assessment.features["avx2"].state, assessment.level) == ("uneven", "x86-64-v2")


def test_a_block_that_breaks_off_is_no_uneven_machine():
    """What both list is told; what only the whole block denies is denied; the rest is unknown."""
    blocks = (
        Cpuinfo((0,), {"flags": words(*V3, "vaes")}),
        Cpuinfo((1,), {"flags": words(*V2)}, "cut"),
    )
    assessment = assess(told(cpuinfo=blocks, cpus=(0, 1)))

    assert codes(assessment) == set()
    assert states(assessment, "sse4.2", "avx2", "gfni") == ["unverified", "unknown", "absent"]
    assert levels(assessment)[1:] == ("x86-64-v2", "x86-64-v3")


def test_states_of_several_cpus():
    """Unknown on one CPU grants nothing and disputes nothing."""
    ran = [True, True, True]
    assert merge(["usable", "unknown"], ran[:2]) == "unknown"
    assert merge(["unverified", "unknown"], ran[:2]) == "unknown"
    assert merge(["absent", "unknown"], ran[:2]) == "absent"
    assert merge(["usable", "absent", "unknown"], ran) == "uneven"


@pytest.mark.parametrize(
    ("states", "ran", "merged"),
    [
        (["absent", "hidden"], [False, True], "hidden"),
        (["absent", "hidden"], [True, True], "uneven"),
        (["unverified", "broken"], [False, True], "broken"),
        (["gated", "broken"], [False, True], "broken"),
        (["usable", "broken", "unverified"], [True, True, False], "uneven"),
        (["absent", "broken"], [False, True], "uneven"),  # CPUID itself differs
        (["absent", "unverified"], [False, False], "uneven"),
        (["absent", "hidden", "absent"], [False, True, True], "uneven"),
        (["usable", "unverified"], [True, False], "unverified"),
    ],
)
def test_a_cpu_where_nothing_ran_disputes_nothing(states, ran, merged):
    """A child killed on one CPU is no disagreement about what running shows on another."""
    assert merge(states, ran) == merged


def test_a_32_bit_kernel():
    """Features hold, programs are 32-bit, and no level is said: not "below v1" either."""
    assessment = assess(listing(words(*V2), isa="i686"))

    assert (assessment.bits, levels(assessment)) == (32, (None, None, None))
    assert assessment.verdict == "consistent"
    assert assessment.features["sse4.2"].safe
    assert any("32-bit" in note for note in assessment.notes)


def test_identity_that_only_a_text_tells():
    """Names for people come from the text where nothing better is there."""
    said = ToldIdentity(
        vendor="GenuineIntel", brand="Some CPU", family=6, model=94, stepping=3, hypervisor="KVM"
    )
    identity = assess(told(identity=said)).identity

    assert (identity.vendor, identity.brand, identity.model) == ("GenuineIntel", "Some CPU", 94)
    assert identity.hypervisor == "KVM"
