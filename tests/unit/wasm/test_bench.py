"""`cpuprobe bench`: the bundled modules' results, the table, and what goes wrong."""

from __future__ import annotations

import json
import math
import os
import pty
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.unit.test_schemas import against

from cpuprobe.wasm.bench import BUNDLED, bundled_module, single_flags
from cpuprobe.wasm.setup import PULLEY, Setup

X86 = "x86_64-unknown-linux-gnu"

pytestmark = pytest.mark.skipif(not find_spec("wasmtime"), reason="wasmtime is not installed")


def simd(times: int) -> int:
    words, x = [], 12345
    for _ in range(8192):
        x = (x * 1664525 + 1013904223) % 2**32
        words.append(x)
    data = b"".join(word.to_bytes(4, "little") for word in words)
    first, second = data[:16384], data[16384:]
    bits = sum((a ^ b).bit_count() for a, b in zip(first, second, strict=True))
    dot = 0
    for at in range(0, 16384, 2):
        a, b = (
            int.from_bytes(half[at : at + 2], "little", signed=True) for half in (first, second)
        )
        dot += a * b
    return bits * times % 2**32 << 32 | dot * times % 2**32


def integer(limit: int) -> int:
    primes = [n for n in range(2, limit) if all(n % d for d in range(2, math.isqrt(n) + 1))]
    return len(primes) << 32 | sum(primes) % 2**32


def floating(side: int) -> int:
    def grid(i: int, start: float, width: float) -> float:
        return math.floor(1024 * (start + width * i / side)) / 1024

    total = 0
    for row in range(side):
        for column in range(side):
            c = complex(grid(column, -2, 2.5), grid(row, -1.25, 2.5))
            x = y = 0.0
            steps = 0
            while steps < 100 and x * x + y * y <= 4:
                x, y = c.real + (x * x - y * y), c.imag + 2 * (x * y)
                steps += 1
            total += steps
    return total


@pytest.mark.parametrize(
    ("name", "argument", "expected"),
    [
        ("simd", 1, simd(1)),
        ("simd", 3, simd(3)),
        ("integer", 2, 0),
        ("integer", 64, integer(64)),
        ("integer", 1000, integer(1000)),
        ("integer", 2003, integer(2003)),
        ("float", 7, floating(7)),
        ("float", 24, floating(24)),
    ],
)
def test_the_bundled_modules_compute_what_they_say(tmp_path, name, argument, expected):
    """Against a reckoning in Python that shares nothing with them."""
    path = tmp_path / "m.wat"
    path.write_bytes(bundled_module(name))
    command = [sys.executable, "-m", "cpuprobe", "run", "--quiet", str(path), "--invoke", "run"]
    result = subprocess.run([*command, str(argument)], capture_output=True, timeout=60)

    assert int(result.stdout) % 2**64 == expected


def test_every_single_flag_takes_what_builds_on_it():
    safe = Setup(X86, {"has_avx": True, "has_avx2": True, "has_lzcnt": True, "has_fma": False})

    assert {name: setup.on for name, setup in single_flags(safe)} == {
        "without has_avx": ("has_lzcnt",),
        "without has_avx2": ("has_avx", "has_lzcnt"),
        "without has_lzcnt": ("has_avx", "has_avx2"),
    }


# In a process of its own: one that has threads of wasmtime's must not fork to use it.
SCRIPT = """
import json, sys, msgspec
from cpuprobe.errors import CpuprobeError
from cpuprobe.wasm.bench import measure
from cpuprobe.wasm.setup import Setup
from cpuprobe.wasm.request import Request
wat, args, setups, rounds = json.loads(sys.argv[1])
try:
    seen = measure(
        Request("m", wat.encode(), "", {}, "f", tuple(args)),
        [(name, Setup(target, flags)) for name, target, flags in setups], rounds)
except CpuprobeError as error:
    sys.exit(str(error))
print(msgspec.json.encode(seen.rows).decode())
"""


def measured(wat: str, args: list[str], setups: list[object]) -> list[dict[str, object]] | str:
    """The rows of three rounds, or the error's message."""
    command = [sys.executable, "-c", SCRIPT, json.dumps([wat, args, setups, 3])]
    result = subprocess.run(command, capture_output=True, timeout=60)
    return result.stderr.decode() if result.returncode else json.loads(result.stdout)


POPCNT = '(module (func (export "f") (param i32) (result i32) (i32.popcnt (local.get 0))))'


def test_rows_say_what_is_the_same_and_what_did_not_run():
    """Equal code is measured once; a setup that wasmtime refuses says so; Pulley runs."""
    rows = measured(
        POPCNT,
        ["77"],
        [
            ["safe", X86, {"has_popcnt": False, "has_avx": False}],
            ["bmi2", X86, {"has_popcnt": False, "has_bmi2": False}],
            ["apx", X86, {"has_apx": True}],
            ["pulley", PULLEY, {}],
        ],
    )

    assert isinstance(rows, list)
    safe, bmi2, apx, pulley = rows
    assert (safe["ratio"], safe["low"], safe["high"]) == (1, 1, 1)
    assert (bmi2["same_code_as"], bmi2["seconds"]) == ("safe", safe["seconds"])
    assert "apx" in str(apx["failed"])
    assert pulley["seconds"] is not None
    assert pulley["flags"] is None


def test_a_function_that_traps_cannot_be_measured():
    said = measured('(module (func (export "f") unreachable))', [], [["s", PULLEY, {}]])

    assert isinstance(said, str)
    assert "unreachable" in said
    assert said.count("\n") == 1


def bench(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "cpuprobe", "bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=120)


def test_json_of_a_module(tmp_path: Path):
    """One document, every setup in it, the safe set first."""
    path = tmp_path / "m.wat"
    path.write_text(POPCNT)
    result = bench(path, "--invoke", "f", "--json", "--rounds", 2, "255")
    document = json.loads(result.stdout)

    assert result.returncode == 0, result
    against("bench", document)
    (table,) = document["modules"]
    names = [row["name"] for row in table["rows"]]
    assert names[0] == "safe set"
    assert names[-1] == "Pulley"
    assert {"without AVX-512", "x86-64-v1", "x86-64-v2", "x86-64-v3"} <= set(names)
    for row in table["rows"]:
        assert row["failed"] is not None or row["seconds"] > 0, row


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "--bundled"),
        (["MODULE"], 2, "--invoke"),
        (["MODULE", "--bundled"], 2, "--bundled"),
        (["MODULE", "--invoke", "g", "1"], 2, "no such function"),
        (["MODULE", "--invoke", "f"], 2, "takes 1 argument, not 0"),
        (["GARBAGE", "--invoke", "f"], 4, "neither a wasm module"),
        (["/nonesuch.wasm", "--invoke", "f"], 4, "No such file"),
    ],
)
def test_errors_are_one_line(tmp_path, arguments, code, words):
    (tmp_path / "m.wat").write_text(POPCNT)
    (tmp_path / "g.wasm").write_bytes(b"\xff\0" * 99)
    paths = {"MODULE": str(tmp_path / "m.wat"), "GARBAGE": str(tmp_path / "g.wasm")}
    result = bench(*[paths.get(each, each) for each in arguments])

    assert result.returncode == code, result
    assert words in result.stderr.decode()
    assert result.stderr.count(b"\n") == 1
    assert result.stdout == b""


def test_a_bar_on_a_terminal_and_none_elsewhere(tmp_path):
    """The bar goes to standard error; standard output is the same."""
    (tmp_path / "m.wat").write_text(POPCNT)
    command = [sys.executable, "-m", "cpuprobe", "bench", str(tmp_path / "m.wat")]
    command += ["--invoke", "f", "--rounds", "2", "7"]
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, timeout=120)
        os.close(theirs)
        seen = screen.read(65536)

    assert result.returncode == 0
    assert b"100%" in seen
    assert b"\x1b" not in result.stdout
    assert subprocess.run(command, capture_output=True, timeout=120).stderr == b""


def test_all_bundled_modules_are_there():
    folder = Path(__file__).parents[3] / "probe" / "cpuprobe" / "wasm" / "modules"

    assert {path.stem for path in folder.glob("*.wat")} == set(BUNDLED)
