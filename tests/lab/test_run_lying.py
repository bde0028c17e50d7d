"""`cpuprobe run` on a CPU that claims AVX-512 and does not have it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.lab.user import UserRun, run_user

LYING = "Haswell,x-force-features=on,+avx512f,+avx512vl,+avx512dq"
# glibc's own string functions would use AVX-512 before Python starts.
GLIBC = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512DQ,-AVX512BW"}

# i64x2.mul is VPMULLQ with AVX512DQ and AVX512VL; 3 * 5 is in the first lane.
PRODUCT = """(module (memory 1) (data (i32.const 0) "\\03") (data (i32.const 16) "\\05")
  (func (export "f") (result i64)
    (i64x2.extract_lane 0 (i64x2.mul (v128.load (i32.const 0)) (v128.load (i32.const 16)))))
  (func (export "trap") unreachable))
"""

PLAIN = """
import sys, wasmtime
engine = wasmtime.Engine()
store = wasmtime.Store(engine)
module = wasmtime.Module(engine, open(sys.argv[1]).read())
print(wasmtime.Instance(store, module, []).exports(store)["f"](store))
"""


@pytest.fixture
def product(tmp_path: Path) -> Path:
    path = tmp_path / "product.wat"
    path.write_text(PRODUCT)
    return path


def lying(*arguments: str | Path) -> UserRun:
    return run_user(LYING, [sys.executable, "-m", "cpuprobe", "run", *arguments], env=GLIBC)


@pytest.mark.lab
def test_plain_wasmtime_dies_and_cpuprobe_run_answers(product: Path) -> None:
    """The safe flags are enough; the note names what wasmtime would have done."""
    plain = run_user(LYING, [sys.executable, "-c", PLAIN, product], env=GLIBC)
    guarded = lying(product, "--invoke", "f")

    assert plain.status in ("signal 4", "signal 11")
    assert (guarded.status, guarded.stdout) == ("exit 0", b"15\n")
    assert b"avx512dq, avx512vl and avx512f" in guarded.stderr
    assert b"CP501" in guarded.stderr


@pytest.mark.lab
def test_with_wasmtimes_own_flags_the_culprit_is_found(product: Path, tmp_path: Path) -> None:
    """No ptrace under QEMU's user mode: bisection. The record spares the second run the death."""
    record = tmp_path / "record.json"
    options = ("--inferred", "--record", record, "--invoke", "f", product)
    first = lying(*options)
    second = lying(*options)
    kept = json.loads(record.read_bytes())

    assert (first.status, first.stdout) == ("exit 1", b"15\n")
    assert b"by bisection" in first.stderr
    assert b"switched off has_avx512" in first.stderr
    assert not kept["flags"]["has_avx512vl"] or not kept["flags"]["has_avx512dq"]
    assert kept["flags"]["has_avx2"]
    assert (second.status, second.stdout) == ("exit 0", b"15\n")
    assert b"died" not in second.stderr


@pytest.mark.lab
def test_a_trap_stays_a_trap(product: Path) -> None:
    """QEMU's user mode kills wasmtime at a native trap; on Pulley it is the program's own."""
    run = lying("--invoke", "trap", product)

    assert run.status == "exit 134"
    assert b"wasm `unreachable` instruction executed" in run.stderr


SILENT = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\\03") (data (i32.const 16) "\\05")
  (func (export "f") (result i64)
    (i64x2.extract_lane 0 (i64x2.mul (v128.load (i32.const 0)) (v128.load (i32.const 16)))))
  (func (export "trap") unreachable))
"""


@pytest.mark.lab
def test_what_the_emulator_says_is_not_the_programs_output(tmp_path: Path) -> None:
    """It could write and does not: it is run again unasked, at most log2 of the flags times."""
    path = tmp_path / "silent.wat"
    path.write_text(SILENT)
    run = lying("--inferred", "--invoke", "f", path)

    assert (run.status, run.stdout) == ("exit 1", b"15\n")
    assert b"written output" not in run.stderr
    assert run.stderr.count(b"uncaught target signal") == 1
    assert b"cpuprobe: switched off has_avx512" in run.stderr
    assert b"it ran to its end with has_" in run.stderr
    trapped = lying("--invoke", "trap", path)
    assert trapped.status == "exit 134"
    assert b"ran to its end" not in trapped.stderr
