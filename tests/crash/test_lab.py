"""Crashes on machines that are not this one: a lying CPU under QEMU, and a kernel's own log."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cpuprobe.assessment import Assessment, assess
from cpuprobe.evidence.crashes.core_file import read_core
from cpuprobe.evidence.crashes.read import read_text
from cpuprobe.evidence.machines.read import parse_capture
from tests.crash.answers import explained
from tests.crash.programs import build
from tests.lab import packages, programs
from tests.lab.common import LabMissing
from tests.lab.machine import Program, boot

pytestmark = pytest.mark.lab

LIAR = "Haswell,x-force-features=on,+avx512f,+avx512vl,+avx512dq"
# Without it glibc itself believes the CPU and dies before main.
CAUTIOUS = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512DQ,-AVX512BW"}
VPMULLQ = bytes.fromhex("62f2fd0840c1")


def allow_cores() -> None:
    resource.setrlimit(
        resource.RLIMIT_CORE, (256 << 20, resource.getrlimit(resource.RLIMIT_CORE)[1])
    )


def liar_assessed(command: list[str]) -> Assessment:
    """What cpuprobe-native finds on that CPU."""
    try:
        native = programs.native_executable()
    except LabMissing as error:
        pytest.skip(f"lab: {error}")
    reported = subprocess.run([*command, native], capture_output=True, timeout=60, check=True)
    return assess(parse_capture(reported.stdout), "50")


def test_the_core_of_a_lying_cpu(tmp_path: Path) -> None:
    """CPUID and XCR0 claim AVX-512, JIT code uses it and dies: feature, cause and flags."""
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("lab: qemu-x86_64 is not installed")
    program = build(tmp_path, "jit", VPMULLQ)
    command = [emulator, "-cpu", LIAR]
    ended = subprocess.run(
        [*command, program, "j"],
        cwd=tmp_path,
        env={**os.environ, **CAUTIOUS},
        preexec_fn=allow_cores,
        capture_output=True,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGILL
    core = next(iter(tmp_path.glob("qemu_*.core")), None)
    if core is None:
        pytest.skip("lab: this QEMU writes no core of its guest")
    answer = explained(read_core(str(core)), lambda: liar_assessed(command))

    assert (answer.signal, answer.verdict) == ("SIGILL", "lacks")
    assert [each.att for each in answer.instructions] == ["vpmullq %xmm1,%xmm0,%xmm0"]
    states = {each.name: (each.cpuid, each.state) for each in answer.features}
    assert states == {"avx512dq": (True, "broken"), "avx512vl": (True, "broken")}
    assert all("emulator" in each.cause for each in answer.features)
    assert {"has_avx512dq", "has_avx512vl"} <= set(answer.flags)
    assert not any(answer.flags.values())


# Without its signal handlers: QEMU 7.2 misaligns the stack of a handler, which kills them first.
_WASM = """
import wasmtime
config = wasmtime.Config()
config.signals_based_traps = False
store = wasmtime.Store(wasmtime.Engine(config))
module = wasmtime.Module(store.engine, '''(module (memory 1) (func (export "f") (result i64)
    (i64x2.extract_lane 1 (i64x2.mul
        (v128.load (i32.const 0)) (v128.load offset=16 (i32.const 0))))))''')
wasmtime.Instance(store, module, []).exports(store)["f"](store)
"""


def test_wasmtime_on_a_lying_cpu(tmp_path: Path) -> None:
    """Wasmtime believes CPUID and XCR0, emits VPMULLQ for i64x2.mul, and dies of it."""
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("lab: qemu-x86_64 is not installed")
    pytest.importorskip("wasmtime")
    ended = subprocess.run(
        [emulator, "-cpu", LIAR, sys.executable, "-c", _WASM],
        cwd=tmp_path,
        env={**os.environ, **CAUTIOUS},
        preexec_fn=allow_cores,
        capture_output=True,
        timeout=120,
    )
    assert ended.returncode == -signal.SIGILL, ended.stderr[-500:]
    core = next(iter(tmp_path.glob("qemu_*.core")), None)
    if core is None:
        pytest.skip("lab: this QEMU writes no core of its guest")
    answer = explained(read_core(str(core)), lambda: liar_assessed([emulator, "-cpu", LIAR]))

    assert answer.verdict == "lacks"
    assert [each.intel for each in answer.instructions] == ["vpmullq xmm0, xmm0, xmm1"]
    assert any("cranelift-has_avx512dq=false" in line for line in answer.advice)


def test_the_log_of_a_real_kernel(tmp_path: Path) -> None:
    """Debian's kernel names the program and the mapping; the file gives the instruction."""
    try:
        kernel = packages.kernel()
        program = build(tmp_path, "victim", VPMULLQ, static=True)
        victim = programs.static(program, "b")
        guest = boot(
            kernel, Program(victim.guest_argv, files=victim.files), cpu="Nehalem,-hypervisor"
        )
    except LabMissing as error:
        pytest.skip(f"lab: {error}")
    lines = [line for line in guest.console.splitlines() if "invalid opcode" in line]
    found = {each.module: each for each in read_text("\n".join(lines), [str(program)])}

    assert re.search(r"traps: victim\[\d+\] trap invalid opcode", guest.console)
    assert guest.status == "signal 4"
    assert set(found) == {"victim", None}
    assert found["victim"].code[:6] == VPMULLQ
    assert found[None].anonymous is True
