"""The core's own verdict, as `cpuprobe run` takes it, is the assessment's."""

from __future__ import annotations

import msgspec
import pytest

from cpuprobe.assessment import assess
from cpuprobe.assessment.wasmtime import REFUSED
from cpuprobe.evidence.measure import observe
from cpuprobe.evidence.observation import Wasmtime
from cpuprobe.evidence.verdict import native_flags
from cpuprobe.facts.features import load_features
from cpuprobe.facts.wasmtime import known_versions

# One release of each set of flags.
MAJORS = sorted({row.flags: major for major, row in known_versions().items()}.values())


@pytest.mark.parametrize("major", MAJORS)
def test_the_flags_are_the_assessments_or_left_to_it(major):
    """On any machine: told where each flag that is off is one whose feature is plainly absent."""
    version = f"{major}.0.1"
    here = assess(msgspec.structs.replace(observe(), wasmtime=Wasmtime(version)))
    plain = all(
        reason == REFUSED
        or here.features[load_features().by_cranelift[flag].name].state == "absent"
        for flag, reason in here.cranelift_off.items()
    )

    assert native_flags(version) == (dict(here.cranelift) if plain else None)


@pytest.mark.parametrize("version", ["", "0", "999.0.0", "dev", "-1", "50000000000", "²"])
def test_a_version_that_is_none_is_left_to_the_assessment(version):
    """Nothing is guessed of it."""
    assert native_flags(version) is None
