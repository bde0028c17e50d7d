"""Traps that a world's one run cannot show: CPUID faulting, raw outcomes, a /proc without cpuinfo.

The others are worlds of `verdicts.py`: foreign, agreeing, covered and made-up cpuinfo, masked
features that still run, hints, AMX without permission.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cpuprobe.assessment import assess
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.evidence.observation import Observation
from tests.lab.programs import native_executable
from tests.lab.user import run_user

pytestmark = pytest.mark.lab

FIRST_CPU = str(min(os.sched_getaffinity(0)))

# arch_prctl(ARCH_SET_CPUID, 0) makes CPUID raise SIGSEGV in this process and its forks; execve()
# resets it (arch_prctl(2)), so the process that sets it has to be the one that observes.
FAULTING = """
import ctypes, sys
import msgspec
from cpuprobe import assess, observe
from cpuprobe.report.document import make_report, to_json
SYS_arch_prctl, ARCH_SET_CPUID = 158, 0x1012
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) != 0:
    sys.exit(100 + ctypes.get_errno())
observation = observe()
libc.syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1)
sys.stdout.buffer.write(to_json(make_report(observation, assess(observation))))
"""


def observe(cpu: str, *arguments: str) -> Observation:
    """What cpuprobe-native sees on one CPU of a model."""
    run = run_user(cpu, [native_executable(), "--cpus", FIRST_CPU, *arguments])
    assert run.status == "exit 0", run.stderr.decode()
    return parse_capture(run.stdout)


def outcomes(observation: Observation, mnemonic: str) -> dict[str, str]:
    """The outcome of every candidate with this mnemonic."""
    pairs = zip(observation.candidates, observation.groups[0].ran, strict=True)
    return {each.name: ran for each, ran in pairs if each.name.split()[0] == mnemonic}


def test_cpuid_faulting() -> None:
    """CPUID that faults is told as CP402; execution still speaks, and nothing dies."""
    done = subprocess.run([sys.executable, "-c", FAULTING], capture_output=True, check=False)
    if done.returncode == 100 + errno.ENODEV:
        pytest.skip("this CPU or kernel has no CPUID faulting (ARCH_SET_CPUID: ENODEV)")
    assert done.returncode == 0, done.stderr.decode()
    report: dict[str, Any] = json.loads(done.stdout)

    group = report["observation"]["groups"][0]
    codes = [each["code"] for each in report["assessment"]["findings"]]
    assert group["cpuid_outcome"] == "sigsegv"
    assert group.get("cpuid", []) == []
    assert "CP402" in codes
    assert report["assessment"]["features"]["sse2"] == {
        "state": "usable",
        "safe": True,
        "cpuid": None,
        "os": True,
        "kernel": True,
        "ran": "ok",
    }


@pytest.mark.parametrize("model", ["Nehalem", "Westmere", "SandyBridge", "IvyBridge", "Conroe"])
def test_lzcnt_and_tzcnt_where_they_are_bsr_and_bsf(model: str) -> None:
    """Neither faults on a CPU without them; the candidates of both are found out by their value."""
    observation = observe(model)
    lzcnt, tzcnt = outcomes(observation, "lzcnt"), outcomes(observation, "tzcnt")

    assert set(lzcnt.values()) == {"wrong"}
    # BMI's others fault; after the first fault what is left of the set is not run.
    assert "wrong" in tzcnt.values()
    assert set(tzcnt.values()) <= {"wrong", "skipped"}
    features = assess(observation, "50").features
    assert [features[name].state for name in ("lzcnt", "bmi")] == ["absent", "absent"]


def test_lzcnt_and_tzcnt_where_they_exist() -> None:
    """The same candidates are right on Haswell, so the test above can fail."""
    observation = observe("Haswell")

    assert set(outcomes(observation, "lzcnt").values()) == {"ok"}
    assert set(outcomes(observation, "tzcnt").values()) == {"ok"}


def test_rdseed_runs_though_denied() -> None:
    """QEMU 7.2 runs RDSEED wherever it has RDRAND, and CPUID denies it: hidden, never safe."""
    assessment = assess(observe("Haswell-noTSX"), "50")
    if assessment.features["rdseed"].ran != "ok":
        pytest.skip("this QEMU decodes RDSEED by its own CPUID bit")

    assert assessment.features["rdseed"].cpuid is False
    assert assessment.features["rdseed"].state == "hidden"
    assert assessment.features["rdseed"].safe is False
    assert [each.features for each in assessment.findings if each.code == "CP203"] == [("rdseed",)]


def test_a_proc_without_cpuinfo(tmp_path: Path) -> None:
    """A sandbox that hides cpuinfo withholds nothing."""
    (tmp_path / "proc").mkdir()

    observation = observe("Haswell-noTSX", "--root", str(tmp_path))
    assessment = assess(observation, "50")

    assert not observation.cpuinfo
    assert assessment.verdict == "consistent"
    assert assessment.level == "x86-64-v3"
    assert assessment.features["avx2"].kernel is None
    assert any("no /proc/cpuinfo" in note for note in assessment.notes)


def test_two_readings_of_a_world_are_the_same_bytes() -> None:
    """The same CPU observed twice gives the same assessment, to the byte."""
    first, second = (assess(observe("Haswell"), "50") for _ in range(2))

    assert msgspec.json.encode(first) == msgspec.json.encode(second)
