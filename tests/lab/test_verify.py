"""`cpuprobe verify` and the model of wasmtime's inference on CPUs that this machine has not."""

from __future__ import annotations

import functools
import sys

import pytest

from cpuprobe.assessment import assess
from cpuprobe.assessment.machine import Machine
from cpuprobe.assessment.std_detect_x86_64 import std_detect
from cpuprobe.code.engine_section import read_engine_section
from cpuprobe.evidence.installed import installed_version
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.evidence.observation import Observation
from cpuprobe.facts.features import load_features
from cpuprobe.facts.wasmtime import lookup
from tests.lab import programs
from tests.lab.common import tool
from tests.lab.user import models, run_user

pytest.importorskip("wasmtime")
pytest.importorskip("iced_x86")

from cpuprobe.wasm.proof import verify
from cpuprobe.wasm.verification import Verification

# What no model of QEMU's is: AVX gone from under what builds on it, and AVX-512.
CHOSEN = (
    "Haswell,-avx",
    "Opteron_G5,-avx",
    "Haswell,x-force-features=on,+avx512f,+avx512vl,+avx512dq",
    "Haswell,x-force-features=on,+avx512f,-fma",
)
LIAR = "Haswell,x-force-features=on,+avx512f,+avx512vl,+avx512dq"
# glibc's string functions would use AVX-512 before wasmtime is even loaded.
WITHOUT_AVX512 = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512DQ,-AVX512BW"}
PROGRAM = """
import sys
from wasmtime import Config, Engine, Module
sys.stdout.buffer.write(Module(Engine(Config()), "(module)").serialize())
"""


@functools.cache
def observed(cpu: str) -> Observation:
    """What cpuprobe-native sees on an emulated CPU."""
    run = run_user(cpu, programs.get("native").user_argv)
    assert run.status == "exit 0", run.stderr.decode(errors="replace")
    return parse_capture(run.stdout)


def inferred(cpu: str) -> dict[str, object]:
    """What the installed wasmtime turns on there by itself."""
    run = run_user(cpu, (sys.executable, "-c", PROGRAM), env=WITHOUT_AVX512, timeout=120)
    assert run.status == "exit 0", run.stderr.decode(errors="replace")
    return dict(read_engine_section(run.stdout).isa_flags)


def disagreement(cpu: str) -> set[str]:
    """Flags about which the model and the installed wasmtime differ."""
    version = lookup(installed_version() or "")
    table = load_features()
    machine = Machine(observed(cpu))
    detected = std_detect(machine.groups[0], machine)
    real = inferred(cpu)
    return {
        flag
        for flag in version.flags
        if flag not in version.refuses
        and real[flag] is not (table.by_cranelift[flag].name in detected)
    }


def features_told(cpu: str) -> tuple[object, ...]:
    """What a detector of features may read: the vendor, the leaves that list them, and XCR0."""
    group = observed(cpu).groups[0]
    listing = [leaf for leaf in group.cpuid if leaf.leaf in (0x0, 0x7, 0x14, 0x24, 0x80000001)]
    first = [(leaf.ecx, leaf.edx) for leaf in group.cpuid if leaf.leaf == 0x1]
    return group.xcr0, *first, *((each.leaf, each.subleaf, each.eax, each.ebx, each.ecx, each.edx)
                                 for each in listing)  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("cpu", CHOSEN)
def test_the_model_infers_what_wasmtime_infers(cpu: str) -> None:
    """CP501 to CP504 rest on the model: here it stands beside the real detector."""
    assert disagreement(cpu) == set()


@pytest.mark.lab
@pytest.mark.slow
def test_the_model_infers_what_wasmtime_infers_on_every_model() -> None:
    """All of QEMU's models; one of those that tell a detector the same."""
    different = {features_told(cpu): cpu for cpu in models()}
    wrong = {cpu: found for cpu in different.values() if (found := disagreement(cpu))}

    assert wrong == {}


def verified(cpu: str, flags: dict[str, bool], safe: set[str], *operators: str) -> Verification:
    """Both children under the emulator; disassembly is done out here."""
    prefix = (str(tool("qemu-x86_64", "qemu-user")), "-cpu", cpu)
    return verify(flags, safe, operators=operators, prefix=prefix)


@pytest.mark.lab
@pytest.mark.parametrize("cpu", ["qemu64", "Haswell", "Haswell,-avx", "Opteron_G5"])
def test_the_emitted_flags_are_proved(cpu: str) -> None:
    """Each with the flags for that CPU; some operators of each kind, emulation being slow."""
    assessment = assess(observed(cpu), installed_version())
    safe = {name for name, each in assessment.features.items() if each.safe}
    operators = ("i32x4.mul", "i8x16.shuffle", "i64.clz", "i32.popcnt", "f64.floor", "f32x4.min",
                 "i8x16.relaxed_swizzle", "f32x4.relaxed_madd", "i64.shr_u")  # fmt: skip
    result = verified(cpu, assessment.cranelift, safe, *operators)

    assert result.verdict == "proved", (result.death, result.code, result.comparison)
    assert result.operators == len(operators)


@pytest.mark.lab
def test_a_flag_forced_on_wrongly_dies_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPUID and XCR0 claim AVX-512, wasmtime believes them, and the first VPMULLQ kills."""
    for name, value in WITHOUT_AVX512.items():
        monkeypatch.setenv(name, value)
    assessment = assess(observed(LIAR), installed_version())
    safe = {name for name, each in assessment.features.items() if each.safe}
    assert "avx512dq" not in safe
    forced = {**assessment.cranelift}
    forced |= dict.fromkeys(("has_avx512f", "has_avx512vl", "has_avx512dq"), True)
    result = verified(LIAR, forced, safe, "i64x2.mul")

    assert result.verdict == "died"
    # The SIGILL becomes a SIGSEGV in wasmtime's own handler: docs/lab.md, QEMU 7.2.
    assert result.death is not None
    assert result.death.how in ("killed by SIGILL", "killed by SIGSEGV")
    assert (result.death.function or "").startswith("i64x2.mul/")
    assert "avx512dq" in result.death.features
    assert result.code is not None
    assert any("avx512dq" in each.features for each in result.code.outside)

    right = verified(LIAR, assessment.cranelift, safe, "i64x2.mul")
    assert right.verdict == "proved"
