"""What measured times amount to, and the sentence that a packager reads."""

from __future__ import annotations

import math
import random

import pytest

from cpuprobe.report.bench import conclusion, to_text
from cpuprobe.wasm.bench import Row, Table
from cpuprobe.wasm.bench_rows import Worth, differs, median_interval, quartiles, steps


def test_quartiles():
    assert quartiles([3.0]) == (3, 3, 3)
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2, 3, 4)


def test_the_interval_is_the_binomial_one():
    """Ranks from tables of the sign test: 6 values give the extremes, 15 the 4th and 12th."""
    assert median_interval(range(5)) == (-math.inf, math.inf)
    assert median_interval([5, 3, 1, 2, 4, 6]) == (1, 6)
    assert median_interval(range(1, 16)) == (4, 12)
    assert median_interval(range(1, 26)) == (8, 18)


@pytest.mark.parametrize(("true", "noise"), [(1.0, 0.005), (1.0, 0.05), (1.5, 0.05), (0.7, 0.1)])
def test_chance_does_not_make_a_difference(true, noise):
    """In a thousand series of 21 rounds nothing false is said in more than 60 of them."""
    chance = random.Random(f"{true} {noise}")
    said = [differs([chance.gauss(true, noise) for _ in range(21)]) for _ in range(1000)]

    assert said.count(true == 1.0) <= 60
    if noise < 0.01:
        assert said.count(False) > 900
    elif true != 1.0:
        assert said.count(True) > 900


def test_few_rounds_say_nothing():
    """Five rounds, however far apart, are too few."""
    assert differs([2.0] * 5) is None
    assert differs([2.0] * 7) is True
    assert differs([1.001] * 7) is False


def test_steps_compare_neighbours_and_know_equal_code():
    """v2 halves the time, v3 compiles to the same code, AVX-512 was not measured."""
    times = {"safe set": [1.0] * 9, "x86-64-v1": [2.0] * 9, "x86-64-v2": [1.0] * 9}

    assert steps(times, {"x86-64-v3": "x86-64-v2"}) == (
        Worth("x86-64-v2", 2.0, True),
        Worth("x86-64-v3", 1.0, False),
    )


def rows(*more):
    return (
        Row("safe set", ("has_avx",), None, 1e-4, 1.0, 1.0, 1.0, differs=False),
        *more,
        Row("Pulley", None, None, 2e-3, 20.2, 19.0, 21.0, differs=True),
    )


@pytest.mark.parametrize(
    ("worth", "sentence"),
    [
        (
            [Worth("x86-64-v2", 1.0, False), Worth("x86-64-v3", 1.41, True),
             Worth("AVX-512", 1.0, False)],
            "Worth to this function, each over the step before: x86-64-v2 nothing; x86-64-v3 1.41 "
            "times; AVX-512 nothing. Beyond x86-64-v3 no default gains anything here. Pulley takes "
            "20 times as long.",
        ),
        (
            [Worth("x86-64-v2", 1.0, False), Worth("AVX-512", 1.01, None)],
            "Worth to this function, each over the step before: x86-64-v2 nothing; AVX-512 is too "
            "noisy to tell (1.01). Whether anything beyond x86-64-v1 gains is too noisy to tell. "
            "Pulley takes 20 times as long.",
        ),
        (
            [Worth("x86-64-v2", 1.0, None), Worth("x86-64-v3", 1.5, True)],
            "Worth to this function, each over the step before: x86-64-v2 is too noisy to tell "
            "(1.00); x86-64-v3 1.50 times. Beyond x86-64-v3 no default gains anything here. Pulley "
            "takes 20 times as long.",
        ),
        (
            [Worth("AVX-512", 0.8, True)],
            "Worth to this function, each over the step before: AVX-512 makes it 1.25 times "
            "slower. Defaults of x86-64-v1 lose nothing here. Pulley takes 20 times as long.",
        ),
    ],
)  # fmt: skip
def test_the_conclusion(worth, sentence):
    """What each step is worth, what default follows, what the fallback costs."""
    assert conclusion(worth, rows()) == sentence


@pytest.mark.parametrize(
    ("ratio", "unlike", "words"),
    [
        (1.03, None, "Pulley is no slower that shows (1.03)."),
        (1.4, True, "Pulley takes 1.40 times as long."),
        (71.2, True, "Pulley takes 71 times as long."),
    ],
)
def test_a_fallback_that_costs_little(ratio, unlike, words):
    """A function that is all call: 1 times as long would say nothing."""
    pulley = Row("Pulley", None, None, 2e-3, ratio, ratio, ratio, differs=unlike)

    assert conclusion([], [pulley]).endswith(words)


def test_rows_that_do_not_differ_take_one_line():
    """Equal code and equal times are listed together; a noisy row says that it is."""
    same = [Row(f"without has_x{n}", (), "safe set", 1e-4, 1.0, 1, 1, differs=False) for n in "ab"]
    noisy = Row("x86-64-v2", (), None, 1.01e-4, 1.01, 0.9, 1.1)
    failed = Row("apx", (), None, failed="wasmtime refuses it")
    text = to_text(Table("m", "f", ("1",), rows(*same, noisy, failed), 9, ()), "50")

    assert text.splitlines() == [
        "m: f(1), wasmtime 50, 9 rounds, CPU time",
        "  setup                           time a call   ratio  quartiles",
        "  safe set                         100.000 us   1.000  1.000 .. 1.000",
        "  x86-64-v2                        101.000 us   1.010  0.900 .. 1.100  too noisy to tell",
        "  apx                            did not run: wasmtime refuses it",
        "  Pulley                             2.000 ms  20.200  19.000 .. 21.000",
        "  no difference (under 3%, or the same code): without has_xa, without has_xb",
        "",
        "  Nothing to compare: the levels did not run. Pulley takes 20 times as long.",
    ]
