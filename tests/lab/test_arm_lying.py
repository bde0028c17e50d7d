"""A kernel that lies about AT_HWCAP (guest/lie.c): what dies of it, and the cure."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cpuprobe.assessment import assess
from cpuprobe.evidence.machines import parse_capture
from tests.lab.architecture import AARCH64
from tests.lab.arm_python import arm_python
from tests.lab.common import GUEST_SOURCES, freestanding, ordinary, tool
from tests.lab.programs import ASSESSED_FOR, WASMTIME, native_executable
from tests.lab.user import UserRun, run_user

pytestmark = pytest.mark.lab

# Bits of arch/arm64/include/uapi/asm/hwcap.h.
ATOMICS, SVE, PACA, SVE2 = "hwcap+8", "hwcap+22", "hwcap+30", "hwcap2+1"


def _lied_to(cpu: str, changes: str, *argv: str | Path, **settings: Any) -> UserRun:
    loader = freestanding("lie.c", AARCH64)
    words = [loader, changes, *argv]
    return run_user(cpu, words, emulator=tool(*AARCH64.user), **settings)


def test_the_loader_changes_the_bits_it_is_told() -> None:
    """The program's other evidence is the CPU's: only the words differ."""
    oracle = ordinary("oracle.c", AARCH64)
    told = json.loads(_lied_to("neoverse-n1", f"{PACA},hwcap-8,{SVE2}", oracle).stdout)
    true = json.loads(run_user("neoverse-n1", [oracle], emulator=tool(*AARCH64.user)).stdout)

    assert told["auxv"]["hwcap"] == true["auxv"]["hwcap"] ^ (1 << 30 | 1 << 8)
    assert told["auxv"]["hwcap2"] == true["auxv"]["hwcap2"] | 1 << 1
    assert {key: told[key] for key in ("runs", "registers")} == {
        key: true[key] for key in ("runs", "registers")
    }


def test_glibc_believes_the_lie() -> None:
    """Its memcpy of SVE is chosen by AT_HWCAP alone: an ordinary program dies before main."""
    died = _lied_to("cortex-a72", SVE, ordinary("oracle.c", AARCH64))

    assert (died.status, died.stdout) == ("signal 4", b"")


@pytest.mark.parametrize(
    ("cpu", "changes", "feature", "flag"),
    [
        ("cortex-a72", ATOMICS, "lse", "has_lse"),
        ("neoverse-n1", PACA, "pauth", "has_pauth"),
    ],
)
def test_the_probe_does_not_believe_the_lie(
    cpu: str, changes: str, feature: str, flag: str
) -> None:
    """It starts where glibc would die, and what is claimed in vain is broken and CP201."""
    arguments = (native_executable(AARCH64), "--cpus", str(min(os.sched_getaffinity(0))))
    told = parse_capture(_lied_to(cpu, changes, *arguments).stdout)
    true = run_user(cpu, arguments, emulator=tool(*AARCH64.user))
    lied, honest = assess(told, ASSESSED_FOR), assess(parse_capture(true.stdout), ASSESSED_FOR)

    assert (lied.features[feature].state, honest.features[feature].state) == ("broken", "absent")
    assert lied.cranelift == {**honest.cranelift, flag: False} == honest.cranelift
    (died,) = (each for each in lied.findings if each.code == "CP201")
    assert feature in died.features
    # /proc/cpuinfo is this machine's: what is listed is listed in HWCAP.
    (listed,) = (each for each in lied.findings if each.code == "CP104")
    assert listed.evidence[0].startswith("AT_HWCAP lists ")
    assert {name: each.state for name, each in lied.features.items() if name != feature} == {
        name: each.state for name, each in honest.features.items() if name != feature
    }


def test_sve2_without_sve_is_incoherent() -> None:
    """As a guest on an Apple M4 is told: CP401, and neither is safe."""
    arguments = (native_executable(AARCH64), "--cpus", str(min(os.sched_getaffinity(0))))
    lied = assess(parse_capture(_lied_to("neoverse-n1", SVE2, *arguments).stdout), ASSESSED_FOR)

    assert [each.features for each in lied.findings if each.code == "CP401"] == [("sve2",)]
    assert not any(lied.features[name].safe for name in ("sve", "sve2"))


@pytest.mark.slow
def test_wasmtime_dies_of_a_signature_that_the_cpu_lacks() -> None:
    """It infers has_pauth from PACA, and RETAA is undefined; has_pauth=false cures it."""
    python = arm_python([WASMTIME])
    script = GUEST_SOURCES / "wasmtime_pauth.py"
    argv = (python.loader, python.executable, script)
    run = _lied_to("neoverse-n1", PACA, *argv, env=python.env, root=python.root)

    assert json.loads(run.stdout) == {
        "plain": {"exit": 0, "answer": 42},
        "signed": {"signal": 4},
        "cured": {"exit": 0, "answer": 42},
    }
