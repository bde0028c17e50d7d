"""The executable on machines that are not at hand: see tests/tools/native_builds.py."""

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from cpuprobe.assessment import assess
from cpuprobe.evidence.observation import Document
from cpuprobe.facts.features import load_features
from tests.required import required
from tests.tools import native_builds


def printed(program: Path) -> str:
    return subprocess.run([program], capture_output=True, text=True, check=True, timeout=60).stdout


def test_without_avx512(tmp_path: Path) -> None:
    """Where AVX-512 and AMX are missing and denied, each costs one fault, and none is a finding."""
    required("make")
    text = printed(native_builds.without_avx512(tmp_path / "tree"))
    observation = msgspec.json.decode(text, type=Document).observation
    table = load_features()
    missing = {
        candidate.name: outcome
        for group in observation.groups
        for candidate, outcome in zip(observation.candidates, group.ran, strict=True)
        if any(table[name].encoding in ("evex", "amx") for name in candidate.features)
    }
    died = {name for name, outcome in missing.items() if outcome == "sigill"}
    assessment = assess(observation)

    assert set(missing.values()) == {"sigill", "skipped"}
    assert died == {"vpaddd zmm0, zmm1, zmm2", "tilezero tmm0"}
    assert len(missing) > 70
    assert assessment.features["avx512f"].state == "absent"
    assert not [f for f in assessment.findings if f.code in ("CP201", "CP202", "CP204", "CP301")]


def test_many_cpus(tmp_path: Path) -> None:
    """64 CPUs that are alike are one group, and what CPUID denies died on the first only."""
    required("make")
    text = printed(native_builds.with_cpus(tmp_path / "tree", 64))
    groups: list[dict[str, Any]] = json.loads(text)["observation"]["groups"]

    assert sum(len(group["cpus"]) for group in groups) == 64
    assert any(group.get("asked_once") for group in groups)
