"""Every CPU model of QEMU made to claim what the user-mode emulator does not implement.

`x-force-features=on` lets CPUID enumerate the whole model, and XCR0 with it. QEMU then warns of
each feature that its emulator (TCG) lacks: those are the truth. What it lacks is broken, and
nothing else is: a candidate that needs several features must not speak against those that run.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from cpuprobe.assessment import Assessment, assess
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.facts.features import load_features
from tests.agreement import disagreements
from tests.lab.programs import native_executable
from tests.lab.test_models import EXCEPTIONS, FIRST_CPU, HIDDEN, PROPERTIES
from tests.lab.user import model_features, models, run_user

pytestmark = pytest.mark.lab

_LACKS = re.compile(r"TCG doesn't support requested feature: CPUID\.\S+?\.([\w.-]+) \[bit")


@dataclass(frozen=True)
class Forced:
    """A forced model: what QEMU says its emulator lacks, what was seen, where verdicts differ."""

    lacks: frozenset[str]
    assessment: Assessment
    disagreements: list[str]


def force(model: str) -> Forced:
    """Run cpuprobe-native on a forced model."""
    arguments: list[str | Path] = [native_executable(), "--cpus", str(FIRST_CPU)]
    run = run_user(f"{model},x-force-features=on", arguments, timeout=60)
    assert run.status == "exit 0", f"{model}: {run.status}: {run.stderr.decode()[-500:]}"
    named = _LACKS.findall(run.stderr.decode())
    return Forced(
        frozenset(PROPERTIES[name] for name in named if name in PROPERTIES),
        assess(parse_capture(run.stdout), "50"),
        disagreements(run.stdout),
    )


@pytest.fixture(scope="module")
def forced() -> dict[str, Forced]:
    """All models, each run once."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(models(), pool.map(force, models()), strict=True))


def test_what_the_emulator_lacks_is_never_usable(forced: dict[str, Forced]) -> None:
    """Claimed and not implemented: broken where a candidate can tell, and safe nowhere."""
    table = load_features()
    wrong = [
        (model, name, judged.state, judged.ran)
        for model, each in forced.items()
        for name in sorted(each.lacks - HIDDEN)
        if (judged := each.assessment.features[name]).safe
        or judged.state == "usable"
        or (table[name].for_programs and judged.state not in ("broken", "withheld", "gated"))
    ]

    assert wrong == []
    assert sum(len(each.lacks) for each in forced.values()) > 300


def test_cpuprobe_native_comes_to_the_same_verdict(forced: dict[str, Forced]) -> None:
    """The core blames by itself what the assessment blames, flag by flag."""
    wrong = {model: each.disagreements for model, each in forced.items() if each.disagreements}

    assert wrong == {}


def test_nothing_else_is_blamed(forced: dict[str, Forced]) -> None:
    """What the emulator implements of a model stays usable beside what it does not."""
    wrong = []
    for model, each in forced.items():
        for name in model_features(model) & PROPERTIES.keys():
            feature = PROPERTIES[name]
            judged = each.assessment.features[feature]
            wanted = EXCEPTIONS.get(feature, ("usable", ""))[0]
            if feature not in each.lacks and judged.state != wanted:
                wrong.append((model, feature, judged.state, judged.ran))

    assert wrong == []


def test_icelake_server(forced: dict[str, Forced]) -> None:
    """The model of the issue: GFNI, VAES, VPCLMULQDQ and AVX-512 are broken, AVX2 is usable."""
    features = forced["Icelake-Server"].assessment.features
    broken = {name for name, feature in features.items() if feature.state == "broken"}

    assert broken >= {"gfni", "vaes", "vpclmulqdq", "avx512f", "avx512vl", "avx512vnni"}
    assert not broken & {"avx", "avx2", "fma", "f16c", "aes", "pclmul", "bmi", "bmi2"}
    assert features["avx"].safe and features["avx2"].safe
    assert forced["Icelake-Server"].assessment.level == "x86-64-v3"
