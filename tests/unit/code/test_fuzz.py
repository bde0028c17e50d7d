"""A short run of the fuzzer of binary files, the same each time (`make fuzz` runs it for long)."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("iced_x86")

from tests.fuzz.containers import check, fields, mutate, seeds

SEEDS = seeds()


@pytest.mark.parametrize("name", SEEDS)
def test_a_seed_is_read(name):
    """What is mutated is a file of its kind: the mutations get past its header."""
    answer = check(SEEDS[name])

    assert answer != "refused refused refused"
    assert len(fields(SEEDS[name])) > 30


@pytest.mark.parametrize("name", SEEDS)
def test_mutations_end_in_an_answer(name):
    """An answer or one line, in time; some of both, or the mutator would test nothing."""
    chance = random.Random(name)
    answers = [check(mutate(SEEDS[name], chance)) for _ in range(800)]

    assert any(answer == "refused refused refused" for answer in answers)
    assert any(answer != "refused refused refused" for answer in answers)
