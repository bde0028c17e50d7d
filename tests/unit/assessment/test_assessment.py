"""States, findings, causes, levels and flags, on machines built in Python."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.fakes import (
    ALDER_LAKE_N,
    AMD,
    GDS_DISABLED,
    HASWELL,
    V1,
    V2,
    V3,
    V4,
    XCR0_AMX,
    XCR0_AVX,
    XCR0_AVX512,
    XCR0_SSE,
    ZEN4,
    cpuinfo,
    gds_machine,
    group,
    observation,
)

from cpuprobe.assessment import Assessment, Finding, assess
from cpuprobe.evidence.observation import CpuGroup, Observation, Outcome, Repeated
from cpuprobe.facts.isa import AARCH64, X86_64
from cpuprobe.report.verdict import headline


def codes(assessment: Assessment) -> list[str]:
    return [finding.code for finding in assessment.findings]


def the(assessment: Assessment, code: str) -> Finding:
    found = [finding for finding in assessment.findings if finding.code == code]
    assert len(found) == 1, f"{len(found)} findings {code} in {codes(assessment)}"
    return found[0]


def states(assessment: Assessment, *features: str) -> list[str]:
    return [assessment.features[name].state for name in features]


# --- the ordinary machine ------------------------------------------------------------------------


def test_a_consistent_machine_has_no_findings():
    """Where all witnesses agree everything claimed is usable and safe, and nothing is found."""
    assessment = assess(observation(group(V3), listed=V3), "50")

    assert assessment.findings == ()
    assert assessment.verdict == "consistent"
    assert assessment.basis == "executed"
    assert (assessment.level, assessment.advertised_level) == ("x86-64-v3", "x86-64-v3")
    assert all(assessment.features[name].safe for name in V3)
    assert states(assessment, "avx512f", "xop") == ["absent", "absent"]


def test_levels_are_the_highest_that_is_complete():
    """A level needs all features of the levels below it too."""
    without_popcnt = [name for name in V4 if name != "popcnt"]

    levels = [
        assess(observation(group(features, xcr0=XCR0_AVX512)), "50").level
        for features in (V1, V2, V3, V4, without_popcnt, ("sse2",))
    ]

    assert levels == ["x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v1", None]


def test_every_flag_of_the_target_gets_a_value():
    """wasmtime 50 knows 20 flags; a v3 machine has 12 of them, and APX never counts."""
    assessment = assess(observation(group(V3), listed=V3), "50")

    assert len(assessment.cranelift) == 20
    assert sorted(flag for flag, value in assessment.cranelift.items() if value) == [
        "has_avx",
        "has_avx2",
        "has_bmi1",
        "has_bmi2",
        "has_cmpxchg16b",
        "has_fma",
        "has_lzcnt",
        "has_popcnt",
        "has_sse3",
        "has_sse41",
        "has_sse42",
        "has_ssse3",
    ]
    assert set(assessment.cranelift_off) == {
        flag for flag, value in assessment.cranelift.items() if not value
    }


def test_flags_are_those_of_the_asked_version():
    """Older versions know fewer flags: has_cmpxchg16b came with 27, has_avx512vnni with 48."""
    machine = observation(group(V3), listed=V3)

    assert "has_cmpxchg16b" not in assess(machine, "25").cranelift
    assert "has_cmpxchg16b" in assess(machine, "27").cranelift
    assert "has_avx512vnni" not in assess(machine, "47").cranelift
    assert "has_avx512vnni" in assess(machine, "48.0.0").cranelift


# --- CP101: the operating system's state ---------------------------------------------------------


def test_gds_takes_avx_away():
    """A Skylake with AVX turned off by the GDS mitigation: CP101 with that cause, AVX flags off."""
    assessment = assess(gds_machine(), "50")

    assert states(assessment, "avx", "avx2", "fma", "f16c") == ["withheld"] * 4
    finding = the(assessment, "CP101")
    assert finding.severity == "error"
    assert finding.features == ("avx", "f16c", "fma", "avx2")
    assert "Gather Data Sampling" in finding.cause
    assert "microcode" in finding.remedy
    assert "gather_data_sampling=force" in finding.remedy
    assert any(GDS_DISABLED in line for line in finding.evidence)
    assert any("XCR0 = 0x3" in line for line in finding.evidence)
    assert (assessment.level, assessment.advertised_level) == ("x86-64-v2", "x86-64-v3")
    assert assessment.verdict == "mismatch"


def test_gds_leaves_what_needs_no_ymm_state():
    """AES-NI, BMI, LZCNT and POPCNT still run under GDS; BMI is refused by Rust's detector."""
    assessment = assess(gds_machine(), "50")

    assert states(assessment, "aes", "bmi", "bmi2", "lzcnt", "popcnt", "adx") == ["usable"] * 6
    assert the(assessment, "CP504").features == ("bmi", "bmi2")
    assert sorted(flag for flag, value in assessment.cranelift.items() if value) == [
        "has_cmpxchg16b",
        "has_lzcnt",
        "has_popcnt",
        "has_sse3",
        "has_sse41",
        "has_sse42",
        "has_ssse3",
    ]


def test_the_kernel_lists_f16c_under_gds():
    """Linux 6.1 lets f16c stand when it takes AVX away: CP104, and no CP102 for the rest."""
    assessment = assess(gds_machine(), "50")

    assert the(assessment, "CP104").features == ("f16c",)
    assert "CP102" not in codes(assessment)


def test_the_kernels_silence_under_gds_needs_no_second_finding():
    """What CP101 explains is not reported again as withheld by the kernel."""
    assessment = assess(gds_machine(listed=V2), "50")

    withheld = [f for f in assessment.findings if f.code == "CP102"]
    assert all("avx" not in finding.features for finding in withheld)


@pytest.mark.parametrize(
    "changes",
    [
        dict(signature=ALDER_LAKE_N),
        dict(signature=HASWELL),
        dict(signature=(6, 0xA6, 0)),  # Comet Lake-L, stepping 0
        dict(signature=ZEN4, vendor=AMD),
    ],
    ids=["alder-lake-n", "haswell", "comet-lake-l-0", "amd"],
)
def test_no_gds_cause_on_an_unaffected_cpu(changes):
    """On a CPU that is not in the kernel's list GDS is no cause, whatever sysfs and options say."""
    assessment = assess(
        observation(
            group(V3, xcr0=XCR0_SSE, **changes),
            cmdline=("gather_data_sampling=force",),
            gds=GDS_DISABLED,
            **changes,
        ),
        "50",
    )

    assert "GDS" not in the(assessment, "CP101").cause
    assert "CP601" not in codes(assessment)


def test_no_gds_cause_in_a_guest():
    """A guest's kernel leaves AVX on, so a guest without YMM state has it from the hypervisor."""
    assessment = assess(
        observation(
            group(V3, xcr0=XCR0_SSE, hypervisor="KVMKVMKVM"),
            cmdline=("gather_data_sampling=force",),
            gds=GDS_DISABLED,
        ),
        "50",
    )

    cause = the(assessment, "CP101").cause
    assert "GDS" not in cause
    assert "KVMKVMKVM" in cause


def test_gds_is_only_likely_without_sysfs():
    """Where /sys is hidden, the option on an affected CPU makes GDS likely and no more."""
    assessment = assess(gds_machine(gds=None), "50")

    assert the(assessment, "CP101").cause.startswith("probably")


def test_gds_without_the_option_is_no_cause():
    """An affected CPU alone explains nothing."""
    assessment = assess(gds_machine(gds="Vulnerable: No microcode", cmdline=()), "50")

    assert "unknown" in the(assessment, "CP101").cause


def test_clearcpuid_avx_is_named():
    """clearcpuid=avx drops the state from XCR0; the cause names the option."""
    assessment = assess(
        observation(group(V3, xcr0=XCR0_SSE), listed=V2, cmdline=("clearcpuid=avx",)), "50"
    )

    assert "clearcpuid=avx" in the(assessment, "CP101").cause


def test_clearcpuid_takes_numbers():
    """156 is word 4 (CPUID.01H:ECX), bit 28 in the kernel's numbering: AVX."""
    assessment = assess(
        observation(group(V3, xcr0=XCR0_SSE), listed=V2, cmdline=("clearcpuid=156",)), "50"
    )

    assert "clearcpuid=156" in the(assessment, "CP101").cause


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("lzcnt", 6 * 32 + 5),
        ("bmi2", 9 * 32 + 8),
        ("xsavec", 10 * 32 + 1),
        ("avxvnni", 12 * 32 + 4),
        ("gfni", 16 * 32 + 8),
        ("serialize", 18 * 32 + 14),
    ],
)
def test_clearcpuid_takes_the_number_of_any_word(name, number):
    """Those of Linux arch/x86/include/asm/cpufeatures.h, not only those of leaves 1 and 7."""
    has = [*V3, "xsavec", "avxvnni", "gfni", "serialize"]
    listed = [each for each in has if each != name]
    machine = observation(group(has), listed=listed, cmdline=(f"clearcpuid=3,{number}",))

    assert f"clearcpuid=3,{number}" in the(assess(machine, "50"), "CP102").cause


def test_noxsave_turns_osxsave_off():
    """Without OSXSAVE there is no AVX, no XSAVE, and no v3 even in what is advertised."""
    assessment = assess(observation(group(V3, osxsave=False), cmdline=("noxsave",)), "50")

    finding = the(assessment, "CP101")
    assert "noxsave" in finding.cause
    assert {"avx", "avx2", "xsave"} <= set(finding.features)
    assert any("OSXSAVE" in line for line in finding.evidence)
    assert assessment.advertised_level == "x86-64-v2"


def test_an_old_kernel_does_not_know_tile_state():
    """AMX on a Linux before 5.16: the kernel is too old, nothing else is wrong."""
    features = (*V4, "amx-tile", "amx-int8")
    assessment = assess(
        observation(group(features, xcr0=XCR0_AVX512), listed=V4, release="5.10.0"), "50"
    )

    finding = the(assessment, "CP101")
    assert finding.features == ("amx-tile", "amx-int8")
    assert "5.16" in finding.cause


def test_zmm_state_alone_can_be_off():
    """XCR0 without the opmask and ZMM bits takes AVX-512 away and leaves AVX2."""
    assessment = assess(observation(group(V4, xcr0=XCR0_AVX), listed=V3), "50")

    assert the(assessment, "CP101").features == (
        "avx512f",
        "avx512dq",
        "avx512cd",
        "avx512bw",
        "avx512vl",
    )
    assert assessment.features["avx2"].safe
    assert assessment.level == "x86-64-v3"


def test_the_enabled_size_stands_in_for_a_missing_xcr0():
    """A dump without XCR0 still shows in CPUID.0DH:EBX that YMM state is off (576 < 832 bytes)."""
    from cpuprobe.evidence.observation import CpuidLeaf

    base = group(V3, xcr0=None, executed=False)
    kept = tuple(leaf for leaf in base.cpuid if leaf.leaf != 0xD)
    area = (CpuidLeaf(0xD, 0, 7, 576, 832, 0), CpuidLeaf(0xD, 2, 256, 576, 0, 0))
    off = msgspec.structs.replace(base, cpuid=kept + area)
    opmask = CpuidLeaf(0xD, 5, 64, 1088, 0, 0)  # of AVX-512, off: no business of AVX
    wide = (CpuidLeaf(0xD, 0, 7, 832, 1152, 0), area[1], opmask)
    unknown = msgspec.structs.replace(base, cpuid=kept + wide)

    assessment = assess(observation(off), "50")
    assert assessment.features["avx"].state == "withheld"
    assert (
        "CPUID.0DH:EBX = 576 bytes of enabled state: bit 2 of XCR0, AVX (YMM) state, is off"
        in the(assessment, "CP101").evidence
    )
    assert assess(observation(unknown), "50").features["avx"].safe


# --- CP102: the kernel ---------------------------------------------------------------------------


def test_clearcpuid_avx2_is_withheld_though_it_runs():
    """clearcpuid=avx2 hides a feature from the kernel's list; it executes and is not safe."""
    listed = [name for name in V3 if name != "avx2"]
    assessment = assess(observation(group(V3), listed=listed, cmdline=("clearcpuid=avx2",)), "50")

    finding = the(assessment, "CP102")
    assert finding.features == ("avx2",)
    assert "clearcpuid=avx2" in finding.cause
    assert "executing avx2: ok, all the same" in finding.evidence
    assert assessment.features["avx2"].ran == "ok"
    assert states(assessment, "avx2") == ["withheld"]
    assert assessment.cranelift["has_avx2"] is False
    assert assessment.cranelift["has_avx"] is True


def test_an_old_kernels_silence_says_nothing():
    """avx512_bf16 is listed from 5.3 on: an older kernel's silence is no evidence."""
    features = (*V4, "avx512bf16")
    verdicts = [
        assess(
            observation(group(features, xcr0=XCR0_AVX512), listed=V4, release=release), "50"
        ).features["avx512bf16"]
        for release in ("5.2.0", "6.12.0", None)
    ]

    assert [each.kernel for each in verdicts] == [None, False, None]
    assert [each.state for each in verdicts] == ["usable", "withheld", "usable"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (dict(listed=None), "no /proc/cpuinfo"),
        (dict(listed=V1, cpuinfo_mount="fuse.lxcfs"), "lxcfs"),
        (dict(blocks=(cpuinfo(V1, signature=ZEN4, vendor=AMD),)), "another CPU"),
    ],
    ids=["missing", "lxcfs", "foreign"],
)
def test_a_cpuinfo_that_is_not_the_kernels_is_set_aside(changes, reason):
    """A hidden, covered or foreign /proc/cpuinfo withholds nothing; a note says why."""
    assessment = assess(observation(group(V3), **changes), "50")

    assert assessment.verdict == "consistent"
    assert assessment.features["avx"].kernel is None
    assert any(reason in note for note in assessment.notes)


def test_gvisor_and_arm_cpuinfo_are_set_aside():
    """gVisor makes its own cpuinfo; a translator's has Features and no flags."""
    from cpuprobe.evidence.observation import Cpuinfo, Kernel

    gvisor = observation(
        group(V3),
        listed=V1,
        kernel=Kernel(release="4.4.0", version="#1 SMP Sun Jan 10 15:06:54 PST 2016"),
    )
    arm = observation(group(V3), blocks=(Cpuinfo((0,), {"Features": "fp asimd"}),))

    assert "gVisor" in assess(gvisor, "50").notes[0]
    assert "translator" in assess(arm, "50").notes[0]
    assert assess(gvisor, "50").findings == assess(arm, "50").findings == ()


def test_rdrand_hidden_on_amd_family_15h():
    """Linux hides RDRAND on AMD family 15h for a reason; the cause says so."""
    machine: dict[str, Any] = dict(vendor=AMD, signature=(0x15, 0x10, 1))
    features = (*V2, "rdrnd")
    assessment = assess(observation(group(features, **machine), listed=V2, **machine), "50")

    assert the(assessment, "CP102").features == ("rdrnd",)
    assert "suspend" in the(assessment, "CP102").cause


# --- CP103: permission ---------------------------------------------------------------------------


def amx_machine(**more: object) -> Observation:
    features = (*V4, "amx-tile", "amx-int8", "amx-bf16")
    # As on Sapphire Rapids: once TILEZERO has died the others are not tried.
    tiles: dict[str, Outcome] = {
        "amx-tile": "sigill",
        "amx-int8": "skipped",
        "amx-bf16": "skipped",
    }
    options: dict[str, Any] = dict(amx_permission="granted")
    options.update(more)
    return observation(group(features, xcr0=XCR0_AMX, before=tiles), listed=features, **options)


def test_amx_is_gated_and_no_mismatch():
    """AMX that runs only after arch_prctl is gated: CP103, informative, not safe, no error."""
    assessment = assess(amx_machine(), "50")

    assert states(assessment, "amx-tile", "amx-int8", "amx-bf16") == ["gated"] * 3
    assert the(assessment, "CP103").severity == "info"
    assert "before the permission: sigill; after it: ok" in the(assessment, "CP103").evidence
    assert assessment.verdict == "consistent"
    assert not assessment.features["amx-tile"].safe
    assert "CP104" not in codes(assessment)


def test_amx_without_a_second_try_is_gated_not_broken():
    """Where the permission was refused, a fault is what the manual promises."""
    features = (*V4, "amx-tile")
    machine = observation(
        group(features, xcr0=XCR0_AMX, outcomes={"amx-tile": "sigill"}),
        listed=features,
        amx_permission="refused",
    )

    assert states(assess(machine, "50"), "amx-tile") == ["gated"]


def test_amx_that_faults_with_permission_is_broken():
    """Permission granted and still a fault: that is CP201."""
    features = (*V4, "amx-tile")
    machine = observation(
        group(
            features,
            xcr0=XCR0_AMX,
            outcomes={"amx-tile": "sigill"},
            before={"amx-tile": "sigill"},
        ),
        listed=features,
        amx_permission="granted",
    )

    assert states(assess(machine, "50"), "amx-tile") == ["broken"]
    assert the(assess(machine, "50"), "CP201").features == ("amx-tile",)


# --- CP201 to CP204: execution -------------------------------------------------------------------


def test_a_lying_cpu():
    """AVX-512 claimed, enabled, listed, and faulting: CP201, CP104, CP501, flags off."""
    faults: dict[str, Outcome] = dict.fromkeys(("avx512f", "avx512dq", "avx512vl"), "sigill")
    features = (*V3, *faults)
    assessment = assess(
        observation(
            group(features, xcr0=XCR0_AVX512, outcomes=faults, hypervisor="TCGTCGTCGTCG"),
            listed=features,
            wasmtime="50.0.1",
        )
    )

    assert the(assessment, "CP201").features == tuple(faults)
    assert "emulator" in the(assessment, "CP201").cause
    assert the(assessment, "CP104").features == tuple(faults)
    assert sorted(the(assessment, "CP501").features) == ["avx512dq", "avx512f", "avx512vl"]
    assert not any(
        value for flag, value in assessment.cranelift.items() if flag.startswith("has_avx512")
    )
    assert (assessment.level, assessment.advertised_level) == ("x86-64-v3", "x86-64-v3")


def test_a_wrong_result_is_no_ok():
    """A claimed LZCNT that computes BSR is broken: CP202."""
    assessment = assess(observation(group(V3, outcomes={"lzcnt": "wrong"}), listed=V3), "50")

    assert states(assessment, "lzcnt") == ["broken"]
    assert the(assessment, "CP202").features == ("lzcnt",)
    assert assessment.cranelift["has_lzcnt"] is False


def test_lzcnt_that_runs_as_bsr_is_absent():
    """LZCNT decodes as BSR where it is missing: no fault, wrong value, and no claim either."""
    assessment = assess(observation(group(V2, outcomes={"lzcnt": "wrong"}), listed=V2), "50")

    assert states(assessment, "lzcnt") == ["absent"]
    assert codes(assessment) == ["CP502"]  # Winch without AVX; nothing about LZCNT


def test_hidden_features_are_never_safe():
    """A mask that hides AVX2 does not stop the silicon: hidden, CP203, not safe."""
    features = [name for name in V3 if name != "avx2"]
    assessment = assess(
        observation(
            group(features, outcomes={"avx2": "ok"}, hypervisor="KVMKVMKVM"), listed=features
        ),
        "50",
    )

    assert states(assessment, "avx2") == ["hidden"]
    assert the(assessment, "CP203").severity == "info"
    assert not assessment.features["avx2"].safe
    assert the(assessment, "CP203").cause_id == "masked"

    bare = observation(group(features, outcomes={"avx2": "ok"}), listed=features)
    assert the(assess(bare, "50"), "CP203").cause_id == "unknown"
    emulated = group(features, outcomes={"avx2": "ok"}, hypervisor="TCGTCGTCGTCG")
    found = the(assess(observation(emulated, listed=features), "50"), "CP203")
    assert found.cause_id == "emulator-beyond", "no hardware is below an emulated CPU"


@pytest.mark.parametrize("outcome", ["timeout", "killed"])
def test_a_candidate_that_hangs_or_kills(outcome):
    """CP204, and the feature is not safe."""
    assessment = assess(observation(group(V3, outcomes={"fma": outcome}), listed=V3), "50")

    assert the(assessment, "CP204").features == ("fma",)
    assert outcome in the(assessment, "CP204").evidence[0]
    assert not assessment.features["fma"].safe


def test_a_candidate_of_two_features_speaks_only_against_the_claimed():
    """VPABSQ xmm needs AVX512F and AVX512VL: on a CPU without VL its fault says nothing of F."""
    extra = (("vpabsq xmm0, xmm1", ("avx512f", "avx512vl")),)
    features = (*V3, "avx512f")
    assessment = assess(
        observation(group(features, xcr0=XCR0_AVX512, extra=extra), listed=features, extra=extra),
        "50",
    )

    assert states(assessment, "avx512f", "avx512vl") == ["usable", "absent"]


def test_a_hint_proves_nothing():
    """PREFETCHW is never run: claimed, listed, unverified, and not safe."""
    features = (*V3, "prfchw")
    assessment = assess(observation(group(features), listed=features), "50")

    assert states(assessment, "prfchw") == ["unverified"]
    assert not assessment.features["prfchw"].safe
    assert assessment.verdict == "consistent"


@pytest.mark.parametrize("ran", ["one", "none", "one CPU alone"])
def test_what_is_claimed_and_was_not_tried_is_no_green(ran):
    """A report of one candidate, or of a child that was killed at once, proves no level."""
    whole = observation(group(V3), listed=V3, wasmtime="50.0.0")
    place = [each.features for each in whole.candidates].index(("avx2",))
    nothing = ("skipped",) * len(whole.candidates)
    (first,) = whole.groups
    if ran == "one":
        less = msgspec.structs.replace(
            whole,
            candidates=(whole.candidates[place],),
            groups=(msgspec.structs.replace(first, ran=("ok",)),),
        )
    elif ran == "none":
        less = msgspec.structs.replace(whole, groups=(msgspec.structs.replace(first, ran=nothing),))
    else:
        alone = msgspec.structs.replace(first, cpus=(0,))
        killed = msgspec.structs.replace(first, cpus=(1,), ran=nothing)
        less = msgspec.structs.replace(whole, groups=(alone, killed))
    assessment = assess(less)

    assert assess(whole).verdict == "consistent"
    assert assessment.verdict == "insufficient"
    assert (assessment.level, assessment.level_at_least) == (None, None)
    assert assessment.level_at_most == "x86-64-v3"
    assert not any(assessment.cranelift.values())
    assert codes(assessment) == []
    assert "nothing that ran proves" in headline(assessment)


def test_every_feature_of_a_level_can_be_proven_by_running():
    """Else no machine would ever be known to be of that level."""
    for facts in (X86_64, AARCH64):
        table = facts.features()
        named = {name for level in facts.levels() for name in level.features}
        assert [name for name in sorted(named) if not table[name].for_programs] == []


# --- CP301 ---------------------------------------------------------------------------------------


def hybrid(first: CpuGroup, second: CpuGroup) -> Observation:
    return observation((first, second), listed=None)


def test_cpus_that_disagree():
    """AVX-512 on the P-cores only: uneven, CP301 says which CPUs, and no flag."""
    assessment = assess(
        hybrid(group(V4, cpus=(0, 1), xcr0=XCR0_AVX512), group(V3, cpus=(2, 3), xcr0=XCR0_AVX512)),
        "50",
    )

    finding = the(assessment, "CP301")
    assert states(assessment, "avx512f") == ["uneven"]
    assert "avx512f: absent on CPU 2-3, usable on CPU 0-1" in finding.evidence
    assert finding.cpus == (0, 1, 2, 3)
    assert assessment.cranelift["has_avx512f"] is False
    assert assessment.level == "x86-64-v3"


def test_an_aborted_transaction_on_one_cpu_is_no_dispute():
    """RTM may commit on one CPU and abort on another; nothing is proved against it."""
    features = (*V3, "rtm")
    assessment = assess(
        hybrid(group(features, cpus=(0,)), group(features, cpus=(1,), outcomes={"rtm": "skipped"})),
        "50",
    )

    assert states(assessment, "rtm") == ["unverified"]
    assert "CP301" not in codes(assessment)


# --- CP401 to CP403 ------------------------------------------------------------------------------


def test_incoherent_cpuid():
    """AVX2 without AVX exists on no silicon: CP401, and AVX2 is not safe."""
    features = [name for name in V3 if name != "avx"]
    assessment = assess(observation(group(features), listed=features), "50")

    assert "avx2 without avx" in the(assessment, "CP401").evidence
    assert not assessment.features["avx2"].safe
    assert assessment.cranelift["has_avx2"] is False


def test_cpuid_that_faults():
    """CPUID faulting: nothing is enumerated, CP402 is told, execution still speaks."""
    base = group(V3)
    blind = msgspec.structs.replace(base, cpuid=(), cpuid_outcome="sigsegv")
    assessment = assess(observation(blind, listed=None), "50")

    assert "ARCH_SET_CPUID" in the(assessment, "CP402").cause
    assert assessment.features["avx"].cpuid is None
    assert assessment.features["avx"].ran == "ok"


def test_a_model_that_never_had_the_feature():
    """AVX-512 on a Haswell model is a mask or an emulator: CP403."""
    features = (*V3, "avx512f")
    assessment = assess(
        observation(
            group(features, xcr0=XCR0_AVX512, signature=HASWELL),
            listed=features,
            signature=HASWELL,
        ),
        "50",
    )

    assert the(assessment, "CP403").features == ("avx512f",)
    assert assessment.verdict == "consistent"


@pytest.mark.parametrize(("family", "listed"), [(0x16, ["CP403"]), (0x17, [])])
def test_what_amd_had_not_before_zen(family, listed):
    """SHA and ADX came with family 17h: the row ends below it."""
    of_amd: dict[str, Any] = dict(vendor=AMD, signature=(family, 0x1, 2))
    features = (*V3, "sha", "adx")
    assessment = assess(observation(group(features, **of_amd), listed=features, **of_amd), "50")

    assert [code for code in codes(assessment) if code == "CP403"] == listed


def test_a_stepping_that_linux_does_not_know_is_0():
    """`stepping : unknown` is what it prints for 0 on very old CPUs (proc.c)."""
    told = cpuinfo(V2, signature=(6, 3, 0))
    old = msgspec.structs.replace(told, fields={**told.fields, "stepping": "unknown"})
    machine = observation(CpuGroup(cpus=(0, 1)), blocks=(old,))

    assert assess(machine, "50").identity.stepping == 0


# --- CP502, CP503, CP601 -------------------------------------------------------------------------


def test_below_the_simd_floor_of_an_old_wasmtime():
    """wasmtime 8 wants SSE4.2 for wasm SIMD, wasmtime 50 only SSE2."""
    features = [name for name in V2 if not name.startswith("sse4")]
    machine = observation(group(features), listed=features)

    assert "sse4.2" in the(assess(machine, "8"), "CP502").features
    assert set(the(assess(machine, "50"), "CP502").features) == {"avx", "avx2"}  # Winch


def test_a_usable_feature_without_a_flag():
    """wasmtime 47 has no flag for AVX512-VNNI: CP503, only for an installed wasmtime."""
    features = (*V4, "avx512vnni")
    groups = group(features, xcr0=XCR0_AVX512)
    installed = assess(observation(groups, listed=features, wasmtime="47.0.1"))

    assert the(installed, "CP503").features == ("avx512vnni",)
    assert "CP503" not in codes(assess(observation(groups, listed=features), "47"))


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Vulnerable: No microcode", "vulnerable"),
        ("Mitigation: Microcode", "gathers are slower"),
        ("Unknown: Dependent on hypervisor status", "host decides"),
    ],
)
def test_gds_state_is_told(text, meaning):
    """An affected CPU with AVX on gets CP601 with what the kernel's text means."""
    assessment = assess(observation(group(V3), listed=V3, gds=text), "50")

    assert meaning in the(assessment, "CP601").cause
    assert the(assessment, "CP601").evidence[0].endswith(f"/gather_data_sampling: {text}")
    assert assessment.verdict == "consistent"


# --- basis cpuid ---------------------------------------------------------------------------------


def test_without_execution_safe_means_nothing_speaks_against():
    """Nothing executed: claimed features are unverified and safe, withheld ones are not."""
    plain = assess(observation(group(V3, executed=False), listed=V3), "50")
    off = assess(observation(group(V3, executed=False, xcr0=XCR0_SSE), listed=V2), "50")

    assert plain.basis == "cpuid"
    assert states(plain, "avx2") == ["unverified"]
    assert plain.features["avx2"].safe
    assert plain.level == "x86-64-v3"
    assert states(off, "avx2") == ["withheld"]
    assert not off.features["avx2"].safe


def test_what_the_kernel_keeps_to_itself_is_no_loss():
    """XSAVES is privileged: a kernel that gives it up (AMD Zen erratum) withholds nothing."""
    assessment = assess(observation(group((*V3, "xsaves")), listed=V3), "50")

    assert assessment.features["xsaves"].kernel is None
    assert assessment.findings == ()


def test_a_probe_that_cannot_be_pinned_says_so():
    """Where a sandbox forbids pinning, one unknown CPU was seen; a note tells."""
    loose = msgspec.structs.replace(group(V3, cpus=(0,)), pinned=False)

    assert any("pinned" in note for note in assess(observation(loose), "50").notes)


def test_a_core_that_errs_now_and_then():
    """CP202 names the one CPU that failed in a late round, how often, and that it is defective."""
    sound = msgspec.structs.replace(group(V3, cpus=(0, 1, 2)), repeated=Repeated(1000, {}))
    flaky = msgspec.structs.replace(
        group(V3, cpus=(3,), outcomes={"avx2": "wrong"}),
        repeated=Repeated(1000, {"probe avx2": 2}),
    )
    assessment = assess(observation((sound, flaky)), "50")
    finding = the(assessment, "CP202")

    assert finding.cpus == (3,)
    assert finding.features == ("avx2",)
    assert "in 2 of 1000 rounds" in " ".join(finding.evidence)
    assert finding.cause_id == "errs-now-and-then"
    assert not assessment.features["avx2"].safe
    assert assessment.cranelift["has_avx2"] is False


def test_a_pass_of_many_rounds_proves_nothing_for_ever():
    """The note says so; without --repeat there is none."""
    sound = msgspec.structs.replace(group(V3), repeated=Repeated(1000, {}))

    assert any("1000 times" in n and "for ever" in n for n in assess(observation(sound)).notes)
    assert not any("for ever" in note for note in assess(observation(group(V3))).notes)


def test_a_disturbed_probe_says_so():
    """Candidates that were left out for a disturbance, and denied system calls, are named."""
    disturbed = msgspec.structs.replace(
        group(V3, outcomes={"avx2": "skipped"}), disturbed={"probe avx2": "killed"}
    )
    seen = msgspec.structs.replace(observation(disturbed), denied=("prctl",))
    notes = " ".join(assess(seen, "50").notes)

    assert "probe avx2" in notes
    assert "prctl" in notes
    assert not [f for f in assess(seen, "50").findings if f.code in ("CP201", "CP202", "CP204")]


def test_fsgsbase_on_an_old_kernel():
    """Linux before 5.9 lists fsgsbase and leaves CR4.FSGSBASE off: CP101 names the first good."""
    features = (*V3, "fsgsbase")
    assessment = assess(
        observation(
            group(features, outcomes={"fsgsbase": "sigill"}),
            listed=features,
            release="5.4.0-200-generic",
            hwcap2=0,
        ),
        "50",
    )

    assert the(assessment, "CP101").features == ("fsgsbase",)
    assert "5.9" in the(assessment, "CP101").cause
    assert the(assessment, "CP104").features == ("fsgsbase",)


@pytest.mark.parametrize(
    ("hwcap2", "on"), [(0, False), (1, False), (2, True), (3, True), (4, False)]
)
def test_fsgsbase_is_told_by_bit_1_of_hwcap2(hwcap2, on):
    """Bit 0 is ring 3 MWAIT (Linux arch/x86/include/uapi/asm/hwcap2.h)."""
    assessment = assess(observation(group((*V3, "fsgsbase")), hwcap2=hwcap2), "50")

    assert assessment.features["fsgsbase"].os is on


def test_protection_keys_that_another_system_does_not_use():
    """A dump from Windows with OSPKE clear is no mismatch: nobody there was promised PKU."""
    dump = observation(
        group((*V3, "pku"), executed=False), release=None, listed=None, cmdline=None, gds=None
    )
    assessment = assess(dump, "50")

    assert states(assessment, "pku") == ["withheld"]
    assert assessment.verdict == "consistent"


def test_an_emulator_that_computes_wrongly_is_named():
    """QEMU's own signature accuses it of a wrong result; a hypervisor on real silicon is not."""
    causes = [
        the(
            assess(
                observation(group(V3, outcomes={"fma": "wrong"}, hypervisor=signature), listed=V3),
                "50",
            ),
            "CP202",
        ).cause
        for signature in ("TCGTCGTCGTCG", "KVMKVMKVM", None)
    ]

    assert "emulator (TCGTCGTCGTCG)" in causes[0]
    assert all(cause.startswith("unknown") for cause in causes[1:])


# --- blame ---------------------------------------------------------------------------------------


def test_a_candidate_speaks_against_what_nothing_else_has_shown_to_run():
    """VGF2P8MULB that faults where VADDPS ran says gfni; the same where CPUID did not answer."""
    extra = (("vgf2p8mulb", ("gfni", "avx")), ("vaddps", ("avx",)))
    outcomes: dict[str, Outcome] = {"vgf2p8mulb": "sigill", "vaddps": "ok", "gfni": "sigill"}
    claimed = group([*V3, "gfni"], extra=extra, outcomes=outcomes)
    mute = msgspec.structs.replace(claimed, cpuid=(), cpuid_outcome="sigsegv")

    for measured, wanted in ((claimed, "broken"), (mute, "absent")):
        assessment = assess(observation(measured, extra=extra), "50")
        assert states(assessment, "gfni", "avx") == [wanted, "usable"]


def test_two_that_run_apart_and_not_together():
    """Where each runs elsewhere, what none of the others builds on is to blame."""
    extra = (("vaesenc ymm", ("vaes", "avx")), ("vaesenc xmm", ("vaes",)))
    outcomes: dict[str, Outcome] = {"vaesenc ymm": "sigill", "vaesenc xmm": "ok"}
    machine = observation(
        group([*V3, "aes", "pclmul", "vaes"], extra=extra, outcomes=outcomes), extra=extra
    )

    assert states(assess(machine, "50"), "vaes", "avx") == ["broken", "usable"]
