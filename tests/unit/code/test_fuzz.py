"""A short run of the fuzzer of binary files, the same each time (`make fuzz` runs it for long)."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("iced_x86")

from tests.fuzz import archives
from tests.fuzz.archives import digits
from tests.fuzz.containers import REFUSED, check, fields, mutate, seeds

SEEDS = seeds()
TIMES = dict.fromkeys(archives.seeds(), 150)
"""How often what holds files is changed: many readers see it."""


@pytest.mark.parametrize("name", SEEDS)
def test_a_seed_is_read(name):
    """What is mutated is a file of its kind: the mutations get past its header."""
    answer = check(SEEDS[name])

    assert answer != REFUSED
    assert len(fields(SEEDS[name])) + len(digits(SEEDS[name])) > 3


@pytest.mark.parametrize("name", SEEDS)
def test_mutations_end_in_an_answer(name):
    """An answer or one line, in time; some of both, or the mutator would test nothing."""
    chance = random.Random(name)
    answers = [check(mutate(SEEDS[name], chance)) for _ in range(TIMES.get(name, 800))]

    assert any(answer == REFUSED for answer in answers)
    assert any(answer != REFUSED for answer in answers)
