"""A short run of the fuzzer of archives and Parquet, the same each time (`make fuzz`: long)."""

from __future__ import annotations

import random

import pytest
from tests.fuzz.fleets import check, mutate, seeds

from cpuprobe.fleet.apart import Apart


@pytest.fixture(scope="module")
def valid() -> dict[str, bytes]:
    return seeds()


@pytest.fixture
def apart():
    process = Apart()
    yield process
    process.close()


@pytest.mark.parametrize(("name", "read"), [("tar", 23), ("parquet", 40)])
def test_a_seed_is_read(name, read, apart, valid):
    """What is mutated is a file of its kind."""
    if name not in valid:
        pytest.skip("Parquet is an extra")

    assert check(valid[name]) == check(valid[name], apart)
    assert check(valid[name]).startswith(f"{read} read")


def test_mutated_archives_end_in_an_answer(valid):
    """Captures or one line, in time; some of both, or the mutator would test nothing."""
    chance = random.Random("tar")
    answers = [check(mutate(valid["tar"], chance)) for _ in range(600)]

    assert any(answer.startswith("0 read") for answer in answers)
    assert len(set(answers)) > 15


def test_mutated_tables_end_in_an_answer(apart, valid):
    """Likewise; what kills the process that reads is one line too."""
    if "parquet" not in valid:
        pytest.skip("Parquet is an extra")
    chance = random.Random("parquet")
    answers = [check(mutate(valid["parquet"], chance), apart) for _ in range(250)]

    assert any(answer.startswith("0 read") for answer in answers)
    assert len(set(answers)) > 2
