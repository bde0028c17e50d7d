"""Every model of both versions of qemu-aarch64: what it claims, and what instructions do on it."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from cpuprobe.assessment import assess
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.facts.aarch64 import ArmFeature, load_features
from tests.lab.architecture import AARCH64
from tests.lab.common import ordinary
from tests.lab.emulators import MODELS, Emulator
from tests.lab.programs import native_executable
from tests.lab.user import run_user

pytestmark = pytest.mark.lab

FIRST = str(min(os.sched_getaffinity(0)))

# Executing these proves nothing, or nothing the oracle could see without a fault.
HINTS = {"bti", "dgh", "rprfm"}

# What neither QEMU has, and Debian 13's assembler does not know either: on no model may it run.
NOWHERE = {
    *("cmpbr", "f8f16mm", "f8f32mm", "fprcvt", "gcs", "lsfe", "sve-aes2", "sve-bfscale"),
    *("sve-f16f32mm", "sve2p2", "sveeltperm", "sme-mop4", "sme-tmop", "sme2p2"),
    *("ssve-aes", "ssve-bitperm", "ssve-fexpa"),
}

each_model = pytest.mark.parametrize(
    ("emulator", "model"), MODELS, ids=[f"{each.version}-{model}" for each, model in MODELS]
)


def _oracle(emulator: Emulator, model: str) -> dict[str, Any]:
    run = run_user(model, [ordinary("oracle.c", AARCH64)], emulator=emulator.path)

    assert (run.status, run.stderr) == ("exit 0", b"")
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def _claims(feature: ArmFeature, seen: dict[str, Any]) -> tuple[bool, bool]:
    """What the ID registers and the auxiliary vector say of a feature."""
    bit = feature.hwcap
    return bool(feature.told_by(seen["registers"])), bool(bit and bit.holds(seen["auxv"][bit.word]))


@each_model
def test_the_oracle_finds_what_the_model_claims(emulator: Emulator, model: str) -> None:
    """Registers, AT_HWCAP and an instruction agree on all features but those QEMU is wrong on."""
    seen = _oracle(emulator, model)
    claimed: set[str] = set()
    odd: dict[str, set[str]] = {"faults": set(), "unlisted": set(), "unclaimed": set()}
    for feature in load_features().values():
        if feature.name not in seen["runs"]:
            continue
        told, listed = _claims(feature, seen)
        if told:
            claimed.add(feature.name)
        match told, listed, seen["runs"][feature.name] == "ok":
            case (True, True, True) | (False, False, False):
                pass
            case (True, True, False):
                odd["faults"].add(feature.name)
            case (True, False, True):
                odd["unlisted"].add(feature.name)
            case (False, False, True):
                odd["unclaimed"].add(feature.name)
            case other:
                pytest.fail(f"{feature.name}: registers, AT_HWCAP, instruction {other}")

    assert odd["faults"] == emulator.faults & claimed
    assert odd["unlisted"] == emulator.unlisted & claimed
    assert odd["unclaimed"] == emulator.unclaimed.get(model, set())
    for name, shown in seen["effects"].items():
        assert bool(shown) is _claims(load_features()[name], seen)[0], name


def _report(emulator: Emulator, model: str) -> bytes:
    run = run_user(model, [native_executable(AARCH64), "--cpus", FIRST], emulator=emulator.path)

    assert (run.status, run.stderr) == ("exit 0", b"")
    return run.stdout


@each_model
def test_the_probe_agrees_with_the_oracle(emulator: Emulator, model: str) -> None:
    """Its instructions run where the oracle's do, and it judges so; words and registers agree."""
    seen, report = _oracle(emulator, model), _report(emulator, model)
    observation = json.loads(report)["observation"]
    (group,) = observation["groups"]
    runs: dict[str, set[str]] = {}
    for (_, features), outcome in zip(observation["candidates"], group["ran"], strict=True):
        if len(features) == 1:
            runs.setdefault(features[0], set()).add(outcome)

    assert seen["runs"].keys() - runs.keys() <= {"ls64"}  # LD64B wants device memory.
    assert runs.keys() - seen["runs"].keys() <= HINTS | NOWHERE
    oracle = {name for name, outcome in seen["runs"].items() if outcome == "ok"}
    assert {name for name, outcomes in runs.items() if outcomes == {"ok"}} - HINTS == (
        oracle - emulator.wrong
    )
    assert {name for name, outcomes in runs.items() if "ok" in outcomes} <= oracle
    assert {name for name, outcomes in runs.items() if "wrong" in outcomes} == (
        oracle & emulator.wrong
    )
    assert {name: seen["auxv"][name] for name in observation["auxv"]} == observation["auxv"]
    assert {name: group["registers"].get(name) for name in seen["registers"]} == seen["registers"]
    claimed = {each.name for each in load_features().values() if _claims(each, seen)[0]}
    states = assess(parse_capture(report)).features
    assert {name for name, each in states.items() if each.state == "usable"} == (
        oracle & claimed - emulator.wrong
    )
    assert {name for name, each in states.items() if each.state == "broken"} == (
        claimed & (emulator.faults | emulator.wrong)
    )
