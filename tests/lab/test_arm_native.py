"""cpuprobe-native for aarch64 on every model of both versions of qemu-aarch64."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest

from cpuprobe.facts.aarch64 import load_features
from tests.golden.aarch64.inputs import VARIANTS
from tests.lab.architecture import AARCH64
from tests.lab.emulators import EMULATORS, MODELS, Emulator
from tests.lab.programs import native_executable
from tests.lab.user import run_user

pytestmark = pytest.mark.lab

# QEMU 7.2 sums no products of bytes in ZA: 10 agrees with the model of tests/golden.
WRONG = {"7.2": {"smei8i32"}, "10": set[str]()}


def _observe(emulator: Emulator, model: str, *options: str) -> dict[str, Any]:
    command = [native_executable(AARCH64), "--json", "--cpus", "0", *options]
    run = run_user(model, command, emulator=emulator.path)

    assert (run.status, run.stderr) == ("exit 0", b"")
    observation: dict[str, Any] = json.loads(run.stdout)["observation"]
    return observation


def _outcomes(observation: dict[str, Any]) -> dict[str, set[str]]:
    """What the candidates of each feature did: of one that needs several, of the newest."""
    outcomes: dict[str, set[str]] = defaultdict(set)
    ran = observation["groups"][0]["ran"]
    for (_, features), outcome in zip(observation["candidates"], ran, strict=True):
        outcomes[features[-1]].add(outcome)
    return outcomes


@pytest.mark.parametrize(
    ("emulator", "model"), MODELS, ids=[f"{each.version}-{model}" for each, model in MODELS]
)
def test_candidates_run_where_the_model_has_their_feature(emulator: Emulator, model: str) -> None:
    """With every input: all of a feature that the model has, and nothing of one that it lacks."""
    observation = _observe(emulator, model, "--repeat", str(VARIANTS))
    registers = observation["groups"][0]["registers"]
    outcomes = _outcomes(observation)
    for feature in load_features().values():
        name, seen = feature.name, outcomes[feature.name]
        if not seen or not feature.for_programs:
            assert seen <= {"skipped"}, name
        elif name in WRONG[emulator.version] and feature.told_by(registers):
            assert "wrong" in seen, name
        elif feature.told_by(registers) and name not in emulator.faults:
            assert seen == {"ok"}, name
        elif name not in emulator.unclaimed.get(model, set()):
            assert "ok" not in seen, name

    assert registers["midr_el1"] > 0
    assert observation["groups"][0]["repeated"] == {"rounds": VARIANTS, "failed": {}}


def test_what_the_kernel_told_the_program() -> None:
    """The auxiliary vector and the size of a page; nothing of x86's."""
    observation = _observe(EMULATORS[0], "cortex-a72")

    assert observation["isa"] == "aarch64"
    assert observation["auxv"]["hwcap"] & 0xFF == 0xFB
    assert observation["page_size"] == 4096
    assert not {"hwcap2", "amx_permission"} & observation.keys()
    assert not {"cpuid", "xcr0"} & observation["groups"][0].keys()
