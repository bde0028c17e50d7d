"""cpuprobe-native for aarch64: every candidate with every input, and what the kernel told it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.golden.aarch64.inputs import VARIANTS
from tests.lab.architecture import AARCH64
from tests.lab.emulators import EMULATORS, Emulator
from tests.lab.programs import native_executable
from tests.lab.user import run_user

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
