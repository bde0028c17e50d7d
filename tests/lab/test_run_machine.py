"""`cpuprobe run` in a whole machine whose CPU claims AVX-512 and has none: ptrace works there.

Where the kernel sees AVX-512VL it dies in its own BLAKE2s; `clearcpuid=avx512vl` keeps the kernel
off it and leaves CPUID, which is what wasmtime asks, as it is.
"""

from __future__ import annotations

import json
import re
import signal

import msgspec
import pytest

from cpuprobe.assessment import assess
from cpuprobe.report.document import make_report, to_json
from tests.fakes import V4, XCR0_AVX512, group, observation
from tests.lab.machine import Program, boot
from tests.lab.packages import Kernel
from tests.lab.programs import full_root
from tests.lab.test_run_lying import GLIBC, PLAIN, PRODUCT
from tests.lab.world import LIAR

CPU = f"{LIAR},+avx512vl"
BOUND = 90
"""Seconds from the start of QEMU to the end of the guest."""

# The program's root folder is read-only, /tmp is not.
SETUP = """
import json, os, subprocess, sys
for name, text in json.loads(sys.argv[1]).items():
    with open(f"/tmp/{name}", "w") as file:
        file.write(text)
os.chdir("/tmp")
said = []
for command in json.loads(sys.argv[2]):
    done = subprocess.run(command, capture_output=True, text=True)
    said.append({"code": done.returncode, "out": done.stdout, "err": done.stderr})
print(json.dumps(said))
"""


def capture() -> str:
    """A report of a machine that really has AVX-512: there its flags are right."""
    machine = observation(group(V4, xcr0=XCR0_AVX512), listed=V4)
    return to_json(make_report(machine, assess(machine, "50"))).decode()


WRITES = """(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\\03") (data (i32.const 16) "\\05")
  (data (i32.const 32) "\\28\\00\\00\\00\\06\\00\\00\\00hello\\n")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 64)))
    (v128.store (i32.const 0)
      (i64x2.mul (v128.load (i32.const 0)) (v128.load (i32.const 16))))))
"""

FORCED = ("run", "--flags-from", "v4.json")
COMMANDS = {
    "recorded": [*FORCED, "--record", "kept.json", "product.wat", "--invoke", "f"],
    "again": [*FORCED, "--record", "kept.json", "product.wat", "--invoke", "f"],
    "safe": ["run", "product.wat", "--invoke", "f"],
    "writes": [*FORCED, "writes.wat"],
    "retried": [*FORCED, "--retry", "writes.wat"],
    "trap": [*FORCED, "product.wat", "--invoke", "trap"],
}


class Said(msgspec.Struct):
    """How a command of the guest ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def said(kernel: Kernel) -> dict[str, Said]:
    """All the commands in one guest."""
    disk = full_root()
    files = {"v4.json": capture(), "product.wat": PRODUCT, "writes.wat": WRITES}
    commands = [[disk.python, "-c", PLAIN, "product.wat"]]
    commands += [["/usr/bin/cpuprobe", *each] for each in COMMANDS.values()]
    program = Program(
        [disk.python, "-c", SETUP, json.dumps(files), json.dumps(commands)],
        env={**disk.env, **GLIBC},
        disk=disk.image,
        timeout=BOUND,
    )
    guest = boot(
        kernel, program, cpu=CPU, append="clearcpuid=avx512vl", memory=1024, timeout=BOUND + 30
    )
    assert guest.status == "exit 0", guest.stderr.decode(errors="replace")
    answers = msgspec.json.decode(guest.stdout, type=list[Said])
    return dict(zip(["plain", *COMMANDS], answers, strict=True))


@pytest.mark.lab
def test_plain_wasmtime_dies(said: dict[str, Said]) -> None:
    """The module's own code kills the process."""
    assert (said["plain"].code, said["plain"].out) == (-signal.SIGILL, "")


@pytest.mark.lab
def test_the_instruction_its_feature_and_the_flag_are_named(said: dict[str, Said]) -> None:
    """With the flags of a machine that has AVX-512; then the answer is right, in one more run."""
    run = said["recorded"]

    assert (run.code, run.out) == (1, "15\n")
    assert re.search(
        r"SIGILL in compiled code at `vpmullq xmm\d+, xmm\d+, xmm\d+`, "
        r"which needs avx512dq and avx512vl\n",
        run.err,
    )
    assert "switched off has_avx512dq (avx512dq); running it again\n" in run.err
    assert run.err.count("running it again") == 1
    assert "bisection" not in run.err


@pytest.mark.lab
def test_a_record_spares_the_death(said: dict[str, Said]) -> None:
    """The second run begins without the culprit, and nothing falls back."""
    assert (said["recorded"].code, said["recorded"].out) == (1, "15\n")
    assert (said["again"].code, said["again"].out, said["again"].err) == (0, "15\n", "")


@pytest.mark.lab
def test_the_safe_flags_need_no_second_run(said: dict[str, Said]) -> None:
    """And the note says what wasmtime would have done."""
    assert (said["safe"].code, said["safe"].out) == (0, "15\n")
    assert "avx512" in said["safe"].err
    assert "CP501" in said["safe"].err
    assert "died" not in said["safe"].err


@pytest.mark.lab
def test_output_is_not_repeated_unasked(said: dict[str, Said]) -> None:
    """What was written stays written once; with --retry the second run writes it again."""
    once, twice = said["writes"], said["retried"]

    assert (once.code, once.out) == (128 + signal.SIGILL, "hello\n")
    assert "the program has written output: it is not run again unasked; --retry" in once.err
    assert (twice.code, twice.out) == (1, "hello\n" * 2)


@pytest.mark.lab
def test_a_trap_is_no_death(said: dict[str, Said]) -> None:
    """UD2 in compiled code is a signal too, and wasmtime's own handler makes a trap of it."""
    assert said["trap"].code == 134
    assert "wasm `unreachable` instruction executed" in said["trap"].err
    assert "died" not in said["trap"].err
