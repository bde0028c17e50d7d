"""A real crash of a real runtime, and its cure by the command: worlds that need several steps.

Under the user-mode emulator a child process runs on this machine's own CPU. `cpuprobe flags` asks
the installed wasmtime for the names of its flags in such a child; only the names are used, so the
answer is the emulated CPU's all the same. That is what the second test is about.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.lab.common import GUEST_SOURCES
from tests.lab.user import UserRun, run_user
from tests.lab.verdicts import COMPUTES, CRASHING, GLIBC_WITHOUT_AVX512
from tests.lab.world import USER_LIAR

pytestmark = pytest.mark.lab

PYTHON = Path(sys.executable)
NO_AVX512 = {
    "has_avx512f": False,
    "has_avx512vl": False,
    "has_avx512dq": False,
    "has_avx512vbmi": False,
    "has_avx512bitalg": False,
    "has_avx512vnni": False,
}


def in_the_lie(*arguments: str | Path) -> UserRun:
    """Run this Python on the CPU that claims AVX-512 and has none."""
    return run_user(USER_LIAR, [PYTHON, *arguments], env=GLIBC_WITHOUT_AVX512)


def emitted(*arguments: str) -> dict[str, bool]:
    """What `cpuprobe flags --format json` prints there."""
    run = in_the_lie("-m", "cpuprobe", "flags", "--format", "json", *arguments)
    assert run.status == "exit 0", run.stderr.decode()
    flags: dict[str, bool] = json.loads(run.stdout)
    return flags


@pytest.mark.parametrize("operation", CRASHING)
def test_the_emitted_flags_cure_the_crash(operation: str) -> None:
    """wasmtime dies on its own choice, and on cpuprobe's flags it computes what it should."""
    module = GUEST_SOURCES / "verdict.py"

    died = in_the_lie(module, "run", operation, "infer")
    flags = emitted("--wasmtime", "50")
    cured = in_the_lie(module, "run", operation, json.dumps(flags))

    assert died.status in ("signal 4", "signal 11")
    assert b"compiled\n" in died.stderr  # so it was the module's code that died
    assert died.stdout == b""
    assert cured.status == "exit 0", cured.stderr.decode()
    assert json.loads(cured.stdout) == {operation: COMPUTES[operation]}


def test_a_child_on_the_real_cpu_changes_no_flag() -> None:
    """The flags' names may be measured on this machine's CPU; their values never are."""
    flags = emitted()

    assert {name: value for name, value in flags.items() if "avx512" in name} == NO_AVX512
    assert flags["has_avx2"] is True


def test_one_wrong_flag_brings_the_crash_back() -> None:
    """The cure is the three flags and nothing else: with them true the module dies again."""
    module = GUEST_SOURCES / "verdict.py"
    wrong = {"has_avx512f": True, "has_avx512vl": True, "has_avx512dq": True}
    flags = json.dumps({**emitted("--wasmtime", "50"), **wrong})

    assert in_the_lie(module, "run", "i64x2.mul", flags, "bare").status == "signal 4"


def test_no_glibc_program_starts_where_cpuprobe_native_answers() -> None:
    """Skylake-Server, all of it claimed: /bin/true dies; the world native-user-skylake-server."""
    assert run_user("Skylake-Server,x-force-features=on", ["/bin/true"]).status == "signal 4"
