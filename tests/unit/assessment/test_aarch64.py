"""What an observation of aarch64 means: the same states and findings, other causes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests import arm_fakes as arm

from cpuprobe.assessment import Assessment, Finding, assess
from cpuprobe.evidence.observation import Auxv, CpuGroup, Kernel, Observation, Wasmtime
from cpuprobe.facts.aarch64 import load_features, load_levels

LEVELS = {level.name: level.features for level in load_levels()}
V8_2 = (*LEVELS["armv8.2-a"], "dotprod", "fullfp16", "asimdhp", "rcpc")
V1 = (*LEVELS["armv8.4-a"], "fullfp16", "asimdhp", "fp16fml", "bf16", "i8mm", "sve", "svebf16")
V1 = (*V1, "svei8mm", "dit", "ccdp", "rand", "pacga")


def machine(features: tuple[str, ...], **more: Any) -> Observation:
    """A machine on which every witness tells of `features`, and they run."""
    words: dict[str, Any] = {
        key: more.pop(key) for key in ("midr", "outcomes", "told") if key in more
    }
    given = {"auxv": arm.auxv(features), "cpuinfo": None, **more}
    return arm.observation(arm.group(features, **words), **given)


def finding(assessment: Assessment, code: str) -> Finding:
    (found,) = [each for each in assessment.findings if each.code == code]
    return found


def test_all_witnesses_agree() -> None:
    """What registers, HWCAP, the kernel's list and execution say is usable; the rest is absent."""
    found = assess(machine(V8_2, cpuinfo=(arm.cpuinfo(V8_2),)))
    states = {name: each.state for name, each in found.features.items()}

    assert {name for name, state in states.items() if state == "usable"} == set(V8_2)
    assert (states["sve"], states["predres"]) == ("absent", "unknown")
    assert (found.level, found.advertised_level) == ("armv8.2-a", "armv8.2-a")
    assert found.basis == "executed"
    assert (found.verdict, found.findings) == ("consistent", ())
    on = {flag for flag, value in found.cranelift.items() if value}
    assert on == {"has_lse", "has_fp16", "has_dotprod"}
    assert set(found.cranelift) - on == {"has_pauth", "has_i8mm"}
    assert (found.identity.vendor, found.identity.brand) == ("ARM", "ARM Cortex-A72")


def test_hwcap_that_lies() -> None:
    """A bit that was added to HWCAP: the instruction dies, and the kernel's list differs."""
    lying = arm.auxv((*arm.BASE, "lse"))
    found = assess(machine(arm.BASE, auxv=lying, cpuinfo=(arm.cpuinfo(arm.BASE),)))

    assert found.features["lse"].state == "broken"
    assert finding(found, "CP201").features == ("lse",)
    assert finding(found, "CP102").cause_id == "auxv-edited"
    assert found.cranelift["has_lse"] is False


def test_hwcap_stands_in_for_a_list_that_is_not_there() -> None:
    """Without /proc/cpuinfo what HWCAP claims in vain is what the kernel lists wrongly."""
    told = finding(assess(machine(arm.BASE, auxv=arm.auxv((*arm.BASE, "lse")))), "CP104")

    assert told.evidence == ("AT_HWCAP lists atomics", "executing lse: sigill")


def test_wasmtime_asks_hwcap_alone() -> None:
    """What HWCAP claims in vain the installed wasmtime would enable."""
    lying = machine(arm.BASE, auxv=arm.auxv((*arm.BASE, "lse")), wasmtime=Wasmtime("50.0.1"))
    told = finding(assess(lying), "CP501")

    assert (told.features, told.cause_id) == (("lse",), "hwcap-alone")
    assert told.evidence[0] == "wasmtime 50.0.1 infers lse from HWCAP"


def test_cpus_that_differ() -> None:
    """Big cores with LSE and little ones without, as the kernel of an Exynos 9810 told them."""
    big = (*arm.BASE, "lse")
    found = assess(
        arm.observation(
            arm.group(big, cpus=(4, 5)),
            arm.group(big, cpus=(0, 1, 2), outcomes={"lse": "sigill"}),
            auxv=arm.auxv(big),
        )
    )

    assert found.features["lse"].state == "uneven"
    assert finding(found, "CP301").evidence == ("lse: broken on CPU 0-2, usable on CPU 4-5",)


@pytest.mark.parametrize("word", ["arm64.nosve", "id_aa64pfr0.sve=0"])
def test_command_line_takes_sve_away(word: str) -> None:
    """The core has it by its manual, the kernel tells of none, and its command line says why."""
    left = tuple(name for name in V1 if "sve" not in name)
    found = assess(machine(left, midr=arm.NEOVERSE_V1, cmdline=(word,)))
    told = finding(found, "CP102")

    assert found.features["sve"].state == "withheld"
    assert set(told.features) == {"sve", "svebf16", "svei8mm"}
    assert (told.cause_id, word in told.cause) == ("command-line", True)
    assert found.level == "armv8.4-a"


def test_core_that_lacks_what_its_manual_has() -> None:
    """Without a word of the command line only that they do not belong together is known."""
    left = tuple(name for name in V1 if "sve" not in name)
    found = assess(machine(left, midr=arm.NEOVERSE_V1))

    assert finding(found, "CP403").cause_id == "withheld-from-programs"
    assert found.features["sve2"].state == "absent"
    assert found.verdict == "consistent"


def test_sve2_without_sve() -> None:
    """An Apple M4 in a guest: ID_AA64ZFR0_EL1 and HWCAP2 tell of SVE2, SVE is not there."""
    claimed = (*V8_2, "sve2", "bf16")
    has = dict.fromkeys(("sve2",), "sigill")
    found = assess(machine(claimed, midr=arm.APPLE_GUEST, outcomes=has))
    told = finding(found, "CP401")

    assert (told.features, told.cause_id) == (("sve2",), "sve2-without-sve")
    assert "arm64.nosve" in told.remedy
    assert finding(found, "CP201").cause_id == "sve2-without-sve"
    assert found.identity.hypervisor == "Apple's Virtualization framework"

    with_sve = assess(machine((*claimed, "sve"), midr=arm.NEOVERSE_V1, outcomes=has))
    assert finding(with_sve, "CP201").cause_id == "claimed-in-vain"


def test_sve2_without_sve_that_the_kernel_hides() -> None:
    """A kernel that knows of it clears HWCAP2's bit: nothing is claimed."""
    quiet = machine((*V8_2, "sve2"), auxv=arm.auxv(V8_2), outcomes={"sve2": "sigill"})
    found = assess(quiet)

    assert found.features["sve2"].state == "absent"
    assert found.findings == ()


def test_pointer_authentication_switched_off() -> None:
    """arm64.nopauth: PACIA does nothing, and PACGA still runs."""
    left = tuple(name for name in V1 if name not in ("pauth", "pacga"))
    outcomes = {"pauth": "wrong", "pacga": "ok"}
    found = assess(
        machine(left, midr=arm.NEOVERSE_V1, outcomes=outcomes, cmdline=("arm64.nopauth",))
    )

    assert found.features["pauth"].state == "withheld"
    assert found.features["pacga"].state == "hidden"
    assert finding(found, "CP203").cause_id == "command-line"
    assert finding(found, "CP102").features == ("pauth",)


def test_what_hides_one_feature_need_not_hide_another() -> None:
    """A word of the command line is the cause of its own features only."""
    left = tuple(name for name in V1 if name != "pacga")
    runs = {"pacga": "ok", "ssbs": "ok"}
    found = assess(machine(left, outcomes=runs, cmdline=("arm64.nopauth",)))

    assert {each.cause_id: each.features for each in found.findings if each.code == "CP203"} == {
        "command-line": ("pacga",),
        "withheld-from-programs": ("ssbs",),
    }


def test_each_wrong_result_has_its_own_cause() -> None:
    """PACIA that does nothing stays the hint space's doing beside a unit that computes wrongly."""
    outcomes = {"pauth": "wrong", "i8mm": "wrong"}
    found = assess(machine((*V1, "pauth"), outcomes=outcomes))

    assert {each.features: each.cause_id for each in found.findings if each.code == "CP202"} == {
        ("pauth",): "pauth-does-nothing",
        ("i8mm",): "unknown",
    }


def test_pacia_that_does_nothing_is_no_fault_of_a_unit() -> None:
    """HWCAP claims it, PACIA leaves the address as it is: the hint space, not a defect."""
    told = finding(assess(machine((*V8_2, "pauth"), outcomes={"pauth": "wrong"})), "CP202")

    assert told.cause_id == "pauth-does-nothing"


def test_registers_that_cannot_be_read() -> None:
    """Before Linux 4.11 MRS faults: HWCAP alone speaks, and only of what it knew by then."""
    group = msgspec.structs.replace(arm.group(V8_2), registers={}, registers_outcome="sigill")
    old = arm.observation(
        group, auxv=Auxv(hwcap=arm.auxv(arm.BASE).hwcap), kernel=Kernel("4.9.0", None)
    )
    found = assess(old)

    assert finding(found, "CP402").cause_id == "mrs-faults"
    assert found.features["crc"].state == "usable"
    assert found.features["lse"].state == "hidden"  # Linux 4.3 tells of it
    assert found.features["dotprod"].state == "usable"  # 4.9 cannot tell, and it runs


def test_hint_proves_nothing_by_running() -> None:
    """BTI is a NOP where it is missing: claimed, never usable."""
    found = assess(machine((*V8_2, "bti")))

    assert (found.features["bti"].state, found.features["bti"].safe) == ("unverified", False)


def test_registers_alone() -> None:
    """Without execution the assessment rests on what registers and HWCAP claim."""
    group = arm.group(V8_2, executed=False)
    found = assess(arm.observation(group, executed=False, auxv=arm.auxv(V8_2)))

    assert (found.basis, found.level) == ("registers", "armv8.2-a")
    assert found.features["dotprod"].state == "unverified"


@pytest.mark.parametrize(
    ("features", "level"),
    [
        (LEVELS["armv8.7-a"], "armv8.7-a"),
        (LEVELS["armv9.0-a"], "armv9.0-a"),
        ((*LEVELS["armv9.0-a"], *LEVELS["armv8.7-a"]), "armv9.2-a"),
        (("fp-armv8",), None),
    ],
)
def test_levels_are_no_chain(features: tuple[str, ...], level: str | None) -> None:
    """Armv8.7 without SVE2 is of no armv9; with it, of armv9.2."""
    every = tuple(dict.fromkeys(features))

    assert assess(machine(every)).level == level


def test_every_feature_of_a_level_can_be_shown() -> None:
    """A hint in a level would keep every machine that executes below it."""
    for level in load_levels():
        assert all(load_features()[name].for_programs for name in level.features), level.name


def test_list_of_an_apple_guest() -> None:
    """What a pasted list has without what it builds on is incoherent, and not safe."""
    words = (*V8_2, "sve2", "bf16")
    found = assess(pasted(words))

    assert finding(found, "CP401").cause_id == "sve2-without-sve"
    assert not found.features["sve2"].safe


def test_list_of_a_raspberry_pi() -> None:
    """A whole list with cpuid is of Linux 4.11 or later, which would print atomics."""
    found = assess(pasted(arm.BASE))

    assert found.features["lse"].state == "absent"
    assert found.features["mops"].state == "unknown"
    assert found.basis == "registers"


def pasted(features: tuple[str, ...]) -> Observation:
    """A machine of which the kernel's list is all that is known."""
    return arm.observation(
        CpuGroup(cpus=(0, 1)),
        executed=False,
        cpuinfo=(arm.cpuinfo(features),),
        source="proc-cpuinfo",
        kernel=Kernel(),
    )
