"""Every CPU model that QEMU's user-mode emulator knows, against QEMU's own word on it.

The truth is `tests.lab.user.model_features`: the model's definition, less what TCG cannot do. A
feature runs if and only if QEMU says the model has it, with the exceptions below.

A model without long mode is none: `qemu-x86_64 -cpu n270` says "The selected x86 CPU does not
support 64 bit mode" and exits with 1 before any program starts. `models()` leaves these out.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from cpuprobe.assessment import Assessment, assess
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.evidence.observation import Observation
from cpuprobe.facts.features import load_features
from tests.agreement import disagreements
from tests.lab.common import LabError
from tests.lab.programs import native_executable
from tests.lab.user import model_features, models, run_user

pytestmark = pytest.mark.lab

FIRST_CPU = min(os.sched_getaffinity(0))

# QEMU's property (target/i386/cpu.c, feature_word_info) to the feature of profiles/features.toml.
PROPERTIES = {
    "3dnow": "3dnow",
    "3dnowprefetch": "prfchw",
    "abm": "lzcnt",
    "adx": "adx",
    "aes": "aes",
    "amx-bf16": "amx-bf16",
    "amx-int8": "amx-int8",
    "amx-tile": "amx-tile",
    "avx": "avx",
    "avx-vnni": "avxvnni",
    "avx2": "avx2",
    "avx512-4fmaps": "avx5124fmaps",
    "avx512-4vnniw": "avx5124vnniw",
    "avx512-bf16": "avx512bf16",
    "avx512-fp16": "avx512fp16",
    "avx512-vp2intersect": "avx512vp2intersect",
    "avx512-vpopcntdq": "avx512vpopcntdq",
    "avx512bitalg": "avx512bitalg",
    "avx512bw": "avx512bw",
    "avx512cd": "avx512cd",
    "avx512dq": "avx512dq",
    "avx512er": "avx512er",
    "avx512f": "avx512f",
    "avx512ifma": "avx512ifma",
    "avx512pf": "avx512pf",
    "avx512vbmi": "avx512vbmi",
    "avx512vbmi2": "avx512vbmi2",
    "avx512vl": "avx512vl",
    "avx512vnni": "avx512vnni",
    "bmi1": "bmi",
    "bmi2": "bmi2",
    "cldemote": "cldemote",
    "clflushopt": "clflushopt",
    "clwb": "clwb",
    "cmov": "cmov",
    "cx16": "cx16",
    "cx8": "cx8",
    "f16c": "f16c",
    "fma": "fma",
    "fma4": "fma4",
    "fpu": "x87",
    "fsgsbase": "fsgsbase",
    "fxsr": "fxsr",
    "gfni": "gfni",
    "lahf-lm": "sahf",
    "mmx": "mmx",
    "movbe": "movbe",
    "movdir64b": "movdir64b",
    "movdiri": "movdiri",
    "pclmulqdq": "pclmul",
    "pku": "pku",
    "pni": "sse3",
    "popcnt": "popcnt",
    "rdpid": "rdpid",
    "rdrand": "rdrnd",
    "rdseed": "rdseed",
    "rdtscp": "rdtscp",
    "rtm": "rtm",
    "serialize": "serialize",
    "sha-ni": "sha",
    "sse": "sse",
    "sse2": "sse2",
    "sse4.1": "sse4.1",
    "sse4.2": "sse4.2",
    "sse4a": "sse4a",
    "ssse3": "ssse3",
    "syscall": "syscall",
    "tbm": "tbm",
    "vaes": "vaes",
    "vpclmulqdq": "vpclmulqdq",
    "xop": "xop",
    "xsave": "xsave",
    "xsavec": "xsavec",
    "xsaveopt": "xsaveopt",
    "xsaves": "xsaves",
}

# What a model has under QEMU 7.2 and cpuprobe rightly does not call usable: state and reason.
EXCEPTIONS = {
    "pku": ("withheld", "the user-mode emulator does not set CR4.PKE: OSPKE is clear, RDPKRU #UD"),
    "vaes": ("broken", "QEMU 7.2 gets the upper half of 256-bit VAES wrong"),
}
if FIRST_CPU != 0:
    EXCEPTIONS["rdtscp"] = ("broken", "the user-mode emulator's IA32_TSC_AUX is 0 on every CPU")
    EXCEPTIONS["rdpid"] = EXCEPTIONS["rdtscp"]

# What runs though CPUID denies it. QEMU 7.2 decodes RDSEED by RDRAND's bit.
HIDDEN = {"rdseed"}


@dataclass(frozen=True)
class Seen:
    """What cpuprobe-native saw on a model, what it means, and where the two verdicts differ."""

    observation: Observation
    assessment: Assessment
    seconds: float
    disagreements: list[str]


def see(model: str) -> Seen:
    """Run cpuprobe-native on a model; a hang is an error."""
    started = time.monotonic()
    run = run_user(model, [native_executable(), "--cpus", str(FIRST_CPU)], timeout=30)
    assert run.status == "exit 0", f"{model}: {run.status}: {run.stderr.decode()[-500:]}"
    seconds = time.monotonic() - started
    observation = parse_capture(run.stdout)
    return Seen(observation, assess(observation, "50"), seconds, disagreements(run.stdout))


@pytest.fixture(scope="module")
def seen() -> dict[str, Seen]:
    """All models, each run once."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(models(), pool.map(see, models()), strict=True))


def test_the_table_names_features_that_exist() -> None:
    """A typing error in the mapping would make its row a row about nothing."""
    known = set(load_features())

    assert set(PROPERTIES.values()) <= known
    assert len(set(PROPERTIES.values())) == len(PROPERTIES)
    assert {"avx", "lzcnt", "bmi"} < set(PROPERTIES.values())


def test_every_model_is_looked_at(seen: dict[str, Seen]) -> None:
    """A hundred models and more, and the emulator's `max` among them."""
    assert len(seen) >= 100
    assert {"max", "qemu64", "Nehalem", "EPYC-Milan", "Snowridge"} <= set(seen)


def test_cpuprobe_native_comes_to_the_same_verdict(seen: dict[str, Seen]) -> None:
    """Every state, level and flag that the core works out by itself is the assessment's."""
    wrong = {model: each.disagreements for model, each in seen.items() if each.disagreements}

    assert wrong == {}


def test_nothing_is_usable_that_the_model_lacks(seen: dict[str, Seen]) -> None:
    """Usable or safe means that QEMU has it; a feature QEMU has no name for is never usable."""
    names = {feature: name for name, feature in PROPERTIES.items()}
    wrong = [
        (model, feature, judged.state, judged.safe)
        for model, each in seen.items()
        for feature, judged in each.assessment.features.items()
        if (judged.state == "usable" or judged.safe)
        and names.get(feature) not in model_features(model)
    ]

    assert wrong == []


def test_everything_the_model_has_is_usable(seen: dict[str, Seen]) -> None:
    """What QEMU says a model has runs, and cpuprobe says so; but for the listed exceptions."""
    wrong = []
    for model, each in seen.items():
        for name in model_features(model) & PROPERTIES.keys():
            feature = PROPERTIES[name]
            judged = each.assessment.features[feature]
            wanted = EXCEPTIONS.get(feature, ("usable", ""))[0]
            if judged.state != wanted or judged.safe != (wanted == "usable"):
                wrong.append((model, feature, judged.state, judged.ran))

    assert wrong == []


def test_what_cpuid_denies_is_absent(seen: dict[str, Seen]) -> None:
    """What a model lacks does not run, but for the listed exception, and is never safe."""
    wrong = [
        (model, feature, judged.state)
        for model, each in seen.items()
        for feature, judged in each.assessment.features.items()
        if judged.cpuid is False
        and judged.state != "absent"
        and not (judged.state == "hidden" and feature in HIDDEN)
    ]

    assert wrong == []


def test_no_model_hangs_or_kills(seen: dict[str, Seen]) -> None:
    """No candidate hangs or kills the child on any model, and no run is slow."""
    bad = [
        (model, candidate.name, outcome)
        for model, each in seen.items()
        for group in each.observation.groups
        for candidate, outcome in zip(each.observation.candidates, group.ran, strict=True)
        if outcome in ("timeout", "killed")
    ]

    assert bad == []
    assert [model for model, each in seen.items() if each.seconds > 15] == []


def test_nehalem(seen: dict[str, Seen]) -> None:
    """The model of the issue: LZCNT, which runs as BSR there, AVX and BMI are absent."""
    features = seen["Nehalem"].assessment.features

    assert {name: features[name].state for name in ("lzcnt", "avx", "bmi", "popcnt")} == {
        "lzcnt": "absent",
        "avx": "absent",
        "bmi": "absent",
        "popcnt": "usable",
    }


def test_the_exceptions_are_still_needed(seen: dict[str, Seen]) -> None:
    """A model on which an exception holds exists, or it is to be struck off the list."""
    unneeded = [
        feature
        for feature, (state, _) in EXCEPTIONS.items()
        if FIRST_CPU == 0
        and not any(each.assessment.features[feature].state == state for each in seen.values())
    ]

    assert unneeded == []


def test_a_32_bit_model_is_refused_by_qemu() -> None:
    """n270 prints nothing because QEMU refuses it, not because the probe died."""
    assert "n270" not in models()
    with pytest.raises(LabError, match="does not support 64 bit mode"):
        run_user("n270", [native_executable()])
