"""cpuprobe-native for aarch64: every candidate with every input, and what the kernel told it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.golden.aarch64.inputs import VARIANTS
from tests.lab import wheel
from tests.lab.architecture import AARCH64
from tests.lab.arm_python import arm_python
from tests.lab.common import c_compiler, tool
from tests.lab.emulators import EMULATORS, Emulator
from tests.lab.programs import WASMTIME, native_executable
from tests.lab.user import run_user
from tests.tools.native_builds import Tree

pytestmark = pytest.mark.lab


def _observe(emulator: Emulator, model: str, *options: str) -> dict[str, Any]:
    cpu = str(min(os.sched_getaffinity(0)))
    command: list[str | Path] = [native_executable(AARCH64), "--json", "--cpus", cpu, *options]
    run = run_user(model, command, emulator=emulator.path)

    assert (run.status, run.stderr) == ("exit 0", b"")
    observation: dict[str, Any] = json.loads(run.stdout)["observation"]
    return observation


@pytest.mark.parametrize("emulator", EMULATORS, ids=[each.version for each in EMULATORS])
def test_the_model_agrees_with_the_emulator(emulator: Emulator) -> None:
    """On the largest CPU model, with all inputs of `--repeat`: but where the emulator is wrong."""
    observation = _observe(emulator, "max", "--repeat", str(VARIANTS))
    group = observation["groups"][0]
    named = dict(observation["candidates"])

    assert {name for wrong in group["wrong"] for name in named[wrong]} == emulator.wrong
    assert group["ran"].count("ok") > 180
    assert group["repeated"] == {"rounds": VARIANTS, "failed": {}}


def test_what_the_kernel_told_the_program() -> None:
    """The auxiliary vector and the size of a page; nothing of x86's."""
    observation = _observe(EMULATORS[0], "cortex-a72")

    assert observation["isa"] == "aarch64"
    assert observation["auxv"]["hwcap"] & 0xFF == 0xFB
    assert observation["page_size"] == 4096
    assert not {"hwcap2", "amx_permission"} & observation.keys()
    assert not {"cpuid", "xcr0"} & observation["groups"][0].keys()


# Two commands by one start of Python, which takes seconds under emulation.
_COMMANDS = """
import os, runpy, sys
for words in (["--json"], ["flags"]):
    if not os.fork():
        sys.argv = ["cpuprobe", *words]
        runpy.run_module("cpuprobe", run_name="__main__")
    assert os.wait()[1] == 0
    print("--", flush=True)
"""


@pytest.mark.slow
def test_a_cpu_without_sve_and_a_kernel_without_mrs(tmp_path: Path) -> None:
    """SME alone (Apple M4) shows itself though SVE cannot be loaded; before Linux 4.11 MRS dies."""
    entry = "native/isa/aarch64/entry.c"
    tree = Tree(tmp_path)
    tree.replace(entry, r'"b\.eq 3f\\n"', r'"b.eq 9f\\n"')
    flags = r'("ldr x9, \[x19, #128\]\\n"\n    "msr nzcv)'
    tree.replace(entry, flags, r'"b 1f\\n9: .inst 0\\n1:\\n" \1')
    tree.replace(entry, r"0xd5380000 \+ \(.*?\) \+ \(.*?\)", "0")
    probe = tree.build(target="native-aarch64", CROSS=c_compiler(AARCH64))
    run = run_user("max", [probe, "--json"], emulator=EMULATORS[0].path)
    observation = json.loads(run.stdout)["observation"]
    ran: dict[str, set[str]] = {}
    for (_, features), outcome in zip(
        observation["candidates"], observation["groups"][0]["ran"], strict=True
    ):
        ran.setdefault(features[-1], set()).add(outcome)

    assert observation["groups"][0]["registers"] == {}
    assert observation["groups"][0]["registers_outcome"] == "sigill"
    assert ran["sme"] == ran["smef32f32"] == ran["sme-fa64"] == ran["lse"] == {"ok"}
    assert ran["sve"] == ran["sve2"] == {"skipped"}


@pytest.mark.slow
def test_the_wheel_measures_under_emulation() -> None:
    """Built by a cross compiler from the same setup.py, run by Python for arm64."""
    required = ["cffi>=1.17", "msgspec>=0.19", "typer>=0.20,<0.29", WASMTIME]
    python = arm_python([str(wheel.wheel(AARCH64)), *required])
    argv: list[str | Path] = [python.loader, python.executable, "-c", _COMMANDS]
    emulator = tool(*AARCH64.user)
    run = run_user("cortex-a72", argv, emulator=emulator, env=python.env, root=python.root)

    assert run.status == "exit 0", run.stderr
    first, flags, _ = run.stdout.decode().split("--\n")
    report = json.loads(first)
    native = _observe(EMULATORS[0], "cortex-a72")

    assert flags.split() == [
        f"has_{name}=false" for name in ("lse", "pauth", "fp16", "dotprod", "i8mm")
    ]
    assert report["observation"]["groups"][0]["ran"] == native["groups"][0]["ran"]
    assert report["observation"]["auxv"] == native["auxv"]
    assert report["assessment"]["basis"] == "executed"
    assert {
        name: report["assessment"]["features"][name]["state"] for name in ("crc", "lse", "sve")
    } == {"crc": "usable", "lse": "absent", "sve": "absent"}
