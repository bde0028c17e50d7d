"""`cpuprobe run`: the decisions with a fake program, and the guarded child with real ones."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import pty
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.lab.common import LabMissing
from tests.lab.user import run_user

from cpuprobe.errors import CaptureError
from cpuprobe.wasm import attempt, watch
from cpuprobe.wasm.blame import base_first, bisect, culprit
from cpuprobe.wasm.ending import Ending, Fault, side_effects
from cpuprobe.wasm.record import Record, read_record, start_from, to_record
from cpuprobe.wasm.setup import PULLEY, Setup
from cpuprobe.wasm.until_done import run_guarded
from cpuprobe.wasm.values import spell

X86 = "x86_64-unknown-linux-gnu"
ON = [
    *("has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt", "has_avx", "has_avx2"),
    *("has_fma", "has_avx512f", "has_avx512vl", "has_avx512dq", "has_bmi1"),
]
FULL = Setup(X86, dict.fromkeys(ON, True))
# SDM vol. 2: VPABSQ xmm0, xmm1 is EVEX.128.66.0F38.W1 1F /r, needs AVX512VL and AVX512F.
VPABSQ = bytes.fromhex("62f2fd081fc1")
# VPDPBUSD xmm0, xmm1, xmm2 in its VEX form, VEX.128.66.0F38.W0 50 /r, needs AVX-VNNI.
VPDPBUSD = bytes.fromhex("c4e27150c2")
# MOV R16D, EAX with the prefix REX2 (D5), which only a CPU with APX takes (APX specification, 3.1).
REX2_MOV = bytes.fromhex("d5108bc090")

needs_wasmtime = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("wasmtime"), reason="wasmtime is not installed"
)


class Machine:
    """A program that dies where any of `bad` is on, as a function for `run_guarded`."""

    def __init__(self, *bad, code=b"", effects=None, pulley=True, where="", last=None):
        self.bad, self.code, self.effects = set(bad), code, effects
        self.pulley, self.where, self.last = pulley, where, last or Ending("done")
        self.seen: list[tuple[Setup, bool]] = []

    def __call__(self, setup: Setup, muted: bool) -> Ending:
        self.seen.append((setup, muted))
        dies = not self.pulley if setup.target == PULLEY else bool(self.bad & set(setup.on))
        dies = dies or ("always" in self.bad and setup.target != PULLEY)
        if not dies:
            return self.last
        fault = Fault(0x1000, self.code, self.where) if self.code else None
        return Ending("signal", signal=signal.SIGILL, fault=fault, effects=self.effects)


def guarded(machine, setup=FULL, **options):
    told: list[str] = []
    result = run_guarded(machine, setup, tell=told.append, **options)
    return result, "\n".join(told)


def test_a_program_that_lives_is_run_once_and_nothing_is_said():
    machine = Machine()
    result, told = guarded(machine)

    assert (result.setup, told, len(machine.seen)) == (FULL, "", 1)
    assert result.exit_code == 0
    assert not result.fell_back


def test_the_instruction_names_feature_and_flag():
    """A recorded VPABSQ costs has_avx512vl alone, in one more run."""
    machine = Machine("has_avx512vl", code=VPABSQ)
    result, told = guarded(machine)

    assert set(FULL.on) - set(result.setup.on) == {"has_avx512vl"}
    assert len(machine.seen) == 2
    assert "SIGILL in compiled code at `vpabsq xmm0, xmm1`" in told
    assert "avx512vl" in told
    assert "switched off has_avx512vl" in told
    assert result.changes[0].instruction == "vpabsq xmm0, xmm1"
    assert result.exit_code == 1


def test_a_distrusted_feature_is_blamed_first():
    """Of two features the one that the assessment calls unsafe goes, and what builds on it."""
    machine = Machine("has_avx512f", code=VPABSQ)
    result, _ = guarded(machine, unsafe=lambda: frozenset({"avx512f"}))

    assert len(machine.seen) == 2
    assert result.changes[0].flags[0] == "has_avx512f"
    assert set(result.changes[0].flags) == {"has_avx512f", "has_avx512vl", "has_avx512dq"}


def test_a_wrong_guess_is_made_good():
    """Where the base is broken and not known to be, the next death blames it."""
    result, _ = guarded(Machine("has_avx512f", code=VPABSQ))

    assert [change.flags[0] for change in result.changes] == ["has_avx512vl", "has_avx512f"]
    assert "has_avx2" in result.setup.on


@pytest.mark.parametrize("flag", ON)
def test_bisection_finds_each_single_culprit(flag):
    machine = Machine(flag)

    assert bisect(lambda setup: machine(setup, True).crashed, FULL) == flag
    assert len(machine.seen) <= 4  # 12 flags, or none: log2(13)


def test_bisection_ends_where_no_flag_is_to_blame():
    """As soon, and without flags at once."""
    machine = Machine("always")

    assert bisect(lambda setup: machine(setup, True).crashed, FULL) is None
    assert len(machine.seen) <= 4
    assert bisect(lambda setup: pytest.fail("tried"), Setup(X86, {"has_avx": False})) is None


@pytest.mark.parametrize(("one", "other"), [("has_fma", "has_popcnt"), ("has_avx2", "has_bmi1")])
def test_without_a_record_several_culprits_are_found(one, other):
    """All trials are muted, the first run and those after a change are not."""
    machine = Machine(one, other)
    result, told = guarded(machine)

    off = {flag for change in result.changes for flag in change.flags}
    assert {one, other} == {change.flags[0] for change in result.changes}
    assert set(result.setup.on) == set(ON) - off
    assert [muted for _, muted in machine.seen].count(False) == 3
    assert "bisection" in told


def test_at_last_comes_pulley():
    machine = Machine("always")
    result, told = guarded(machine)

    assert result.setup == Setup(PULLEY)
    assert "Pulley" in told
    assert (result.fell_back, result.exit_code) == (True, 1)
    assert not machine.seen[-1][1]


def test_a_trap_at_last_is_no_happy_end():
    """The exit code is the trap's, and nobody says that it ran to its end."""
    result, told = guarded(Machine("always", last=Ending("trap")))

    assert result.exit_code == 134
    assert "ran to its end" not in told
    assert "it ended in a trap with Pulley" in told


def test_an_instruction_that_every_cpu_has_goes_straight_to_pulley():
    """MOV EAX, [RAX] (8B 00) is no matter of flags: no bisection."""
    machine = Machine("always", code=b"\x8b\x00")
    result, _ = guarded(machine)

    assert [setup.target for setup, _ in machine.seen] == [X86, PULLEY]
    assert result.fell_back


def test_where_pulley_dies_too_it_ends():
    result, _ = guarded(Machine("always", pulley=False))

    assert result.ending.crashed
    assert result.exit_code == 128 + 4


def test_a_death_outside_compiled_code_is_passed_on():
    machine = Machine("always", code=VPABSQ, where="libc.so.6")
    result, told = guarded(machine)

    assert len(machine.seen) == 1
    assert result.exit_code == 132
    assert "libc.so.6" in told


def test_side_effects_forbid_a_second_run_unless_asked():
    machine = Machine("has_avx512vl", code=VPABSQ, effects="has written output")
    result, told = guarded(machine)

    assert len(machine.seen) == 1
    assert result.exit_code == 132
    assert "the program has written output: it is not run again unasked; --retry" in told

    result, _ = guarded(machine, retry=True)
    assert result.ending.kind == "done"


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (Ending("exit", code=7), 7),
        (Ending("trap"), 134),
        (Ending("done"), 1),
        (Ending("exit"), 1),
    ],
)
def test_the_programs_own_code_wins_over_a_fallback(ending, code):
    result, _ = guarded(Machine("has_fma", last=ending))

    assert result.fell_back
    assert result.exit_code == code


def test_a_signal_that_is_no_crash_is_passed_on():
    machine = Machine(last=Ending("signal", signal=signal.SIGTERM))

    assert guarded(machine)[0].exit_code == 143
    assert len(machine.seen) == 1


def test_order_and_blame():
    order = base_first(["has_avx512vl", "has_avx2", "has_sse3", "has_avx", "has_avx512f"])

    assert order == ("has_sse3", "has_avx", "has_avx2", "has_avx512f", "has_avx512vl")
    assert culprit(["aes"], FULL, frozenset()) is None
    assert culprit(["avx2"], FULL.without(["has_avx2"]), frozenset()) is None


@pytest.mark.parametrize(
    ("imports", "dirs", "kept", "written", "words"),
    [
        ([], True, False, 100, None),
        (["fd_write"], False, True, 0, None),
        (["fd_write"], False, True, 6, "has written output"),
        (["fd_write"], False, True, None, "may have written output"),
        (["path_open"], False, True, 0, None),
        (["path_open"], True, True, 0, "may have changed files"),
        (["fd_read"], False, False, 0, "may have read its standard input"),
        (["fd_read"], False, True, 0, None),
    ],
)
def test_side_effects(imports, dirs, kept, written, words):
    assert side_effects(imports, dirs=dirs, input_is_kept=kept, written=written) == words


def test_record_round_trip_and_never_up():
    """A record takes flags away and never turns one on that is not safe now."""
    setup = FULL.without(["has_fma"])
    content = to_record(setup, (), "50.0.1", None)
    record = read_record(content, "r")

    assert start_from(FULL, record) == setup
    assert start_from(setup.without(["has_avx2"]), record) == setup.without(["has_avx2"])
    assert start_from(FULL, Record("50", PULLEY, {})) == Setup(PULLEY)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"wasmtime":1}', b"[" * 5000])
def test_a_bad_record_is_one_line(content):
    with pytest.raises(CaptureError, match=r"^r: not a record"):
        read_record(content, "r")


# --- the guarded child ---------------------------------------------------------------------------


def execute(code: bytes):
    """A program for the child: runs bytes in memory of no file, as compiled code is."""

    def program(report):
        report({"stage": "compiled", "imports": []})
        report({"stage": "started", "io": None})
        kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        everything = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        memory = mmap.mmap(-1, 4096, flags=kind, prot=everything)
        memory.write(code + b"\xc3")
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        ctypes.CFUNCTYPE(None)(address)()
        report({"stage": "ended", "kind": "done"})

    return program


def traced() -> bool:
    ending = attempt.run_once(execute(b"\x0f\x0b"), False, True, True)
    return ending.fault is not None


def test_the_child_tells_how_it_ended():
    assert attempt.run_once(execute(b""), False, True, True).kind == "done"
    ending = attempt.run_once(execute(b"\x0f\x0b"), False, True, True)  # UD2
    assert (ending.kind, ending.signal) == ("signal", signal.SIGILL)
    if ending.fault is not None:
        assert ending.fault.code[:2] == b"\x0f\x0b"
        assert ending.fault.where == ""
    ending = attempt.run_once(execute(b"\xcc\xcc"), False, True, True)  # INT3
    assert ending.signal == signal.SIGTRAP


class Missing(NamedTuple):
    """An instruction that no flag can make this CPU run: the flag, its feature, code and text."""

    flag: str
    feature: str
    code: bytes
    text: str


def missing() -> Missing:
    """AVX-VNNI's where the CPU has none, else APX's."""
    from cpuprobe import assess, observe

    features = assess(observe()).features
    if features["avxvnni"].ran == "sigill":
        return Missing("has_avx_vnni", "avxvnni", VPDPBUSD, "vpdpbusd xmm")
    if features["apxf"].ran == "sigill":
        return Missing("has_apx", "apxf", REX2_MOV, "")
    pytest.skip("this CPU has AVX-VNNI and APX")


def test_a_missing_instruction_is_recorded_and_its_flag_switched_off():
    """End to end with a real fault of an instruction that the CPU lacks."""
    lacking = missing()
    if not traced():
        pytest.skip("ptrace is refused here")

    def once(setup, muted):
        code = lacking.code if setup.flags[lacking.flag] else b""
        return attempt.run_once(execute(code), False, True, muted)

    result, told = guarded(once, Setup(X86, {"has_avx2": True, lacking.flag: True}))

    assert result.setup.on == ("has_avx2",)
    assert "SIGILL in compiled code" in told and lacking.text in told
    assert f", which needs {lacking.feature}\n" in told
    assert f"switched off {lacking.flag} ({lacking.feature})" in told


# In a process of its own: one that has threads of wasmtime's must not fork to use it.
TRAP = """
import os
from cpuprobe.wasm.fork import fork
from cpuprobe.wasm.guest import run
from cpuprobe.wasm.request import Request
from cpuprobe.wasm.watch import trace_me, watch
wat = b'(module (func (export "f") unreachable))'
request = Request("m", wat, "x86_64-unknown-linux-gnu", {}, invoke="f")
def program():
    trace_me()
    run(request, lambda said: print(said["kind"], flush=True) if "kind" in said else None)
pid = fork(program)
_, faults = watch(pid)
os.waitpid(pid, 0)
print(*((found.code[:2].hex(), repr(found.where)) for found in faults.values()))
"""


@needs_wasmtime
def test_wasmtimes_code_lies_in_memory_of_no_file():
    """A wasm trap is a signal too: seen on its way, it is in compiled code, and no death."""
    if not traced():
        pytest.skip("ptrace is refused here")
    result = subprocess.run([sys.executable, "-c", TRAP], capture_output=True, timeout=60)

    assert result.stdout.decode().splitlines() == ["trap", """('0f0b', "''")"""]


@pytest.mark.parametrize(("size", "effects"), [(0, None), (7, "has written output")])
def test_output_before_a_death_is_noticed(size, effects):
    """To the byte: what the child itself tells over its pipe does not count."""
    from cpuprobe.wasm.guest import io_counters

    def program(report):
        report({"stage": "compiled", "imports": ["fd_write"]})
        report({"stage": "started", "io": io_counters()})
        if size:
            os.write(1, b"x" * size)
        os.kill(os.getpid(), signal.SIGILL)

    if io_counters() is None:
        pytest.skip("this kernel has no /proc/self/io")
    assert attempt.run_once(program, False, True, True).effects == effects


def test_nothing_is_written_for_a_process_that_dies_here():
    """On a CPU that is not emulated nobody speaks in its name."""
    assert attempt.last_words(signal.SIGILL) == 0


def test_holder():
    maps = (
        "1000-2000 r-xp 00000000 00:00 0 \n"
        "2000-3000 r-xp 00000000 08:01 5   /usr/lib/my lib.so\n"
        "3000-4000 r-xp 00000000 00:00 0   [anon:code]\n"
    )

    assert [watch.holder(maps, at) for at in (0x1000, 0x2FFF, 0x3000, 0x9000)] == [
        "",
        "my lib.so",
        "",
        "",
    ]


def test_written_bytes():
    assert attempt.written_bytes("rchar: 1\nwchar: 10\n", "rchar: 1\nwchar: 25\n") == 15
    assert attempt.written_bytes(None, "wchar: 5\n") is None
    assert attempt.written_bytes("wchar: 5\n", "") is None


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.1, "f64", "0.1"),
        (0.10000000149011612, "f32", "0.1"),
        (1e21, "f64", "1000000000000000000000"),
        (1.0, "f64", "1"),
        (1e-7, "f64", "0.0000001"),
        (-0.0, "f64", "-0"),
        (float("nan"), "f32", "NaN"),
        (float("-inf"), "f64", "-inf"),
        (-5, "i32", "-5"),
    ],
)
def test_results_are_spelled_as_wasmtime_does(value, kind, text):
    """Rust's Display for floats: no exponent, shortest digits that read back."""
    assert spell(value, kind) == text


# --- the command ---------------------------------------------------------------------------------


def run(*arguments, stdin: bytes = b"", env=None):
    return subprocess.run(
        [sys.executable, "-m", "cpuprobe", "run", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=120,
        env={**os.environ, **(env or {})},
    )


WASI = """(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name"
    (func $dir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func $put (param $fd i32) (param $at i32) (param $size i32)
    (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $size))
    (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    (drop (call $args (i32.const 16) (i32.const 1000)))
    (call $put (i32.const 1) (i32.load (i32.const 20)) (i32.const 3))
    (drop (call $env (i32.const 16) (i32.const 2000)))
    (call $put (i32.const 1) (i32.const 2000) (i32.const 3))
    (drop (call $dir (i32.const 3) (i32.const 3000) (i32.const 5)))
    (call $put (i32.const 1) (i32.const 3000) (i32.const 5))
    (i32.store (i32.const 0) (i32.const 4000)) (i32.store (i32.const 4) (i32.const 100))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $put (i32.const 2) (i32.const 4000) (i32.load (i32.const 8)))
    (call $exit (i32.const 42))))
"""

SMALL = """(module (memory 1)
  (func (export "add") (param i32 i64) (result i64)
    (i64.add (i64.extend_i32_s (local.get 0)) (local.get 1)))
  (func (export "trap") unreachable)
  (func (export "outside") (result i32) (i32.load (i32.const -1)))
  (func $deep (export "deep") (call $deep)))
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.wat"
    path.write_text(SMALL)
    return path


@needs_wasmtime
def test_wasi_reaches_the_program(tmp_path):
    """Arguments, environment, a folder, all three streams and the exit code."""
    path = tmp_path / "wasi.wat"
    path.write_text(WASI)
    result = run("--env", "A=1", "--dir", f"{tmp_path}::/data", path, "--", "-x9", stdin=b"hello\n")

    assert result.stdout == b"-x9" + b"A=1" + b"/data"
    assert result.stderr.endswith(b"hello\n")
    assert result.returncode == 42


@needs_wasmtime
def test_a_function_with_arguments(small):
    result = run(small, "--invoke", "add", "-2", "0x10")

    assert (result.returncode, result.stdout) == (0, b"14\n")


@needs_wasmtime
@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("trap", b"wasm `unreachable` instruction executed"),
        ("outside", b"out of bounds memory access"),
        ("deep", b"call stack exhausted"),
    ],
)
def test_a_trap_is_the_programs_own(small, function, words):
    """As the wasmtime command: 134, `Error:`, and no second run."""
    result = run(small, "--invoke", function)

    assert result.returncode == 134
    assert b"Error: failed to run main module `small.wat`" in result.stderr
    assert words in result.stderr
    assert b"running it again" not in result.stderr
    assert b"Pulley" not in result.stderr


@needs_wasmtime
def test_record_is_kept_and_begun_with(small, tmp_path):
    path = tmp_path / "record.json"
    first = run(small, "--record", path, "--invoke", "add", "1", "2")
    kept = json.loads(path.read_bytes())
    kept.update(target=PULLEY, flags={})
    path.write_text(json.dumps(kept))
    second = run(small, "--record", path, "--invoke", "add", "1", "2")

    assert (first.stdout, second.stdout) == (b"3\n", b"3\n")
    assert kept["schema"] == "cpuprobe.run/1"
    assert json.loads(path.read_bytes())["target"] == PULLEY
    assert second.returncode == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["record.json", "small.wat"]


@needs_wasmtime
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a valid module"),
        (b"\x00\xff\xfe\x80" * 50, "neither a wasm module nor WAT text"),
        (b"\0asm\1\0\0\0\xff\xff\xff\xff", "not a valid module"),
        (b"\0asm\x0d\0\1\0\xff", "not a valid component"),
        (b"(module (func $\x1b[31m", "not a valid module"),
        (
            b'(module (import "env" "f" (func)))',
            "needs what is not given here: env (f); `cpuprobe run",
        ),
        (b"\0asm\1\0\0\0" + b"\1\x85\x80\x80\x80\x80\x01" * 3, "not a valid module"),
    ],
)
def test_a_hostile_module_is_one_line(tmp_path, content, words):
    path = tmp_path / "m.wasm"
    path.write_bytes(content)
    result = run("--quiet", path)

    assert result.returncode == 4, result
    assert result.stdout == b""
    line = result.stderr.decode()
    assert line.startswith(f"cpuprobe: error: {path}: ")
    assert words in line
    assert line.count("\n") == 1
    assert line.strip().isprintable()


@needs_wasmtime
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--invoke", "nope"], 2, "no such function; there are add, trap"),
        (["--invoke", "add", "1"], 2, "takes 2 arguments, not 1"),
        (["--invoke", "add", "1", "x"], 2, "'x' is no i64"),
        (["--invoke", "add", "4294967296", "1"], 2, "is no i32"),
        (["--env", "A"], 2, "--env A"),
        (["--dir", "/nonesuch"], 2, "--dir /nonesuch"),
        (["--wasm-features", "nope"], 2, "no such setting"),
        (["--record", "/etc/passwd"], 4, "not a record"),
        (["--inferred", "--flags-from", "x"], 2, "give one"),
    ],
)
def test_wrong_requests_are_one_line(small, arguments, code, words):
    result = run("--quiet", small, *arguments)

    assert result.returncode == code, result
    assert words in result.stderr.decode()
    assert result.stderr.count(b"\n") == 1


def test_a_module_that_is_not_there(tmp_path):
    for path in (tmp_path / "none.wasm", tmp_path):
        result = run(path)
        assert result.returncode == 4
        assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("options", [(), ("--inferred",)])
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("raise OSError('too short')", "wasmtime cannot be loaded: too short"),
        ("import nothing_of_that_name", "wasmtime is not installed"),
    ],
    ids=["broken", "absent"],
)
def test_a_wasmtime_that_does_not_load_is_one_line(small, tmp_path, program, words, options):
    (tmp_path / "wasmtime").mkdir()
    (tmp_path / "wasmtime" / "__init__.py").write_text(program)
    result = run("--quiet", *options, small, env={"PYTHONPATH": str(tmp_path)})

    assert (result.returncode, result.stdout) == (3, b"")
    assert result.stderr.startswith(f"cpuprobe: error: {words}".encode())
    assert result.stderr.count(b"\n") == 1


# In a process of its own: a fork of one that has wasmtime loaded would wait for lost threads.
INFER = """
import sys
from cpuprobe.errors import CannotMeasureError
from cpuprobe.wasm.introspect import flags_by_fork, installed_flags
print(flags_by_fork() == installed_flags())
sys.path.insert(0, sys.argv[1])
try:
    flags_by_fork(patience=1)
except CannotMeasureError as error:
    print(error)
"""


@needs_wasmtime
def test_what_wasmtime_infers_is_asked_in_time(tmp_path):
    """The flags are those of an artifact; a child that hangs is ended."""
    (tmp_path / "wasmtime.py").write_text("import signal; signal.pause()")
    command = [sys.executable, "-c", INFER, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, timeout=60)

    assert result.stdout == b"True\nwasmtime was killed by SIGALRM in its child\n"


@needs_wasmtime
def test_an_interrupt_reaches_the_program(tmp_path):
    """SIGINT to cpuprobe ends an endless module; the exit code is a shell's 130."""
    path = tmp_path / "loop.wat"
    path.write_text('(module (func (export "_start") (loop (br 0))))')
    command = [sys.executable, "-m", "cpuprobe", "run", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130


# --- real code of wasmtime's that dies -----------------------------------------------------------

# The command as it is, with one lie: wasmtime is said to infer a flag that this CPU lacks, and
# where it is on, its child writes an instruction of that feature over the VPMULLD
# (VEX.128.66.0F38 40 /r) that wasmtime compiled.
FORGED = r"""
import re, sys
from cpuprobe.wasm import guest, introspect, spool
flag, code, limit = sys.argv.pop(1), bytes.fromhex(sys.argv.pop(1)), sys.argv.pop(1)
make, build, inferred = guest.make_engine, guest.compiled, introspect.flags_by_fork

def make_engine(request):
    if flag in request.flags:
        request = request._replace(flags={**request.flags, flag: False})
    return make(request)

def compiled(engine, request):
    module = build(engine, request)
    if not request.flags.get(flag):
        return module
    import wasmtime
    forged, count = re.subn(rb"(?s)\xc4\xe2.\x40.", lambda _: code, bytes(module.serialize()))
    assert count == 1, count
    return wasmtime.Module.deserialize(engine, forged)

def flags_by_fork():
    return {**inferred(), flag: True}

guest.make_engine, guest.compiled = make_engine, compiled
introspect.flags_by_fork = flags_by_fork
from cpuprobe.cli import main
if limit:
    spool.MAXIMUM_INPUT = int(limit)
sys.argv.insert(1, "run")
main()
"""

# What it reads, as 32-bit numbers, times five.
READS = """(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 16) "\\05")
  (data (i32.const 32) "\\40\\00\\00\\00\\64\\00\\00\\00")
  (func (export "f") (result i32)
    (drop (call $read (i32.const 0) (i32.const 32) (i32.const 1) (i32.const 8)))
    (i32x4.extract_lane 0 (i32x4.mul (v128.load (i32.const 64)) (v128.load (i32.const 16))))))
"""
FIRST, SECOND = b"A\n", b"B\n"
TIMES_FIVE = {each: b"%d\n" % (5 * int.from_bytes(each, "little")) for each in (FIRST, SECOND)}
CAPTURES = Path(__file__).parents[2] / "data" / "captures"
# It claims AVX-VNNI, and nothing else that a CPU with AVX2 may lack.
ALDER_LAKE = CAPTURES / "aida64-alder-lake-n.txt"


@pytest.fixture
def reads(tmp_path: Path) -> Path:
    """A module that is made to die once; skips where its instruction cannot be, or nobody sees."""
    from cpuprobe import assess, observe

    pytest.importorskip("wasmtime")
    pytest.importorskip("iced_x86")
    missing()
    if not assess(observe()).features["avx"].safe:
        pytest.skip("no AVX, no VPMULLD to write over")
    if not traced():
        pytest.skip("ptrace is refused here")
    path = tmp_path / "reads.wat"
    path.write_text(READS)
    return path


def forged(*arguments: str | Path, limit: int | None = None, **how: object):
    lacking = missing()
    lie = [lacking.flag, lacking.code.hex(), "" if limit is None else str(limit)]
    command = [sys.executable, "-c", FORGED, *lie, "--inferred"]
    options: dict[str, object] = {"capture_output": True, "timeout": 120, **how}
    return subprocess.run([*command, *map(str, arguments), "--invoke", "f"], **options)  # type: ignore[call-overload]


def test_wasmtimes_code_dies_and_its_instruction_is_named(reads):
    """A real fault in what wasmtime compiled, and the right answer."""
    lacking = missing()
    result = forged(reads, stdin=subprocess.DEVNULL)
    told = result.stderr.decode()

    assert (result.returncode, result.stdout) == (1, b"0\n")
    assert "died by SIGILL in compiled code" in told and lacking.text in told
    assert f", which needs {lacking.feature}\n" in told
    assert f"switched off {lacking.flag} ({lacking.feature}); running it again\n" in told
    assert told.count("running it again") == 1


def test_a_file_is_read_again_from_where_it_stood(reads, tmp_path):
    """No --retry is needed for it, and what the shell has read of it before stays read."""
    path = tmp_path / "input"
    path.write_bytes(SECOND * 2 + FIRST)
    with path.open("rb") as file:
        file.seek(2 * len(SECOND))
        result = forged(reads, stdin=file)
        file.seek(2 * len(SECOND))
        asked = forged("--retry", reads, stdin=file)

    assert (result.returncode, result.stdout) == (1, TIMES_FIVE[FIRST])
    assert (asked.returncode, asked.stdout, asked.stderr) == (1, result.stdout, result.stderr)


def test_a_pipe_is_not_read_twice_unasked(reads):
    """What was in it is gone."""
    result = forged(reads, input=FIRST)

    assert (result.returncode, result.stdout) == (128 + signal.SIGILL, b"")
    assert b"the program may have read its standard input: it is not run again" in result.stderr


def test_a_pipe_is_kept_for_a_retry(reads):
    """Each run finds all of it, to the last byte that is allowed."""
    result = forged("--retry", reads, input=FIRST, limit=len(FIRST))

    assert (result.returncode, result.stdout) == (1, TIMES_FIVE[FIRST])
    assert b"standard input" not in result.stderr


def test_a_long_pipe_is_refused_before_anything_runs(reads):
    result = forged("--retry", reads, input=FIRST, limit=len(FIRST) - 1)

    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.startswith(b"cpuprobe: error: --retry: standard input is a pipe of over ")
    assert result.stderr.count(b"\n") == 1


def test_a_pipe_that_cannot_be_kept_is_one_line(reads):
    """As on a full disk: here no file may grow past 100 bytes."""
    result = forged(
        "--retry",
        reads,
        input=b"x" * 5000,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
    )

    assert (result.returncode, result.stdout) == (3, b"")
    assert result.stderr == (
        b"cpuprobe: error: --retry: standard input cannot be kept for a second run: "
        b"File too large\n"
    )


@pytest.mark.parametrize("retry", [False, True])
def test_a_terminal_is_never_kept(reads, retry):
    """Without --retry no second run; with it that reads what is typed next, and that is said."""
    controller, terminal = pty.openpty()
    try:
        os.write(controller, FIRST + SECOND)
        result = forged(*(["--retry"] if retry else []), reads, stdin=terminal)
    finally:
        os.close(controller)
        os.close(terminal)
    told = b"the program may have read its standard input: "

    if retry:
        assert (result.returncode, result.stdout) == (1, TIMES_FIVE[SECOND])
        assert told + b"--retry runs it again all the same\n" in result.stderr
    else:
        assert (result.returncode, result.stdout) == (128 + signal.SIGILL, b"")
        assert told + b"it is not run again unasked" in result.stderr


@needs_wasmtime
@pytest.mark.parametrize(
    ("capture", "on", "off"),
    [
        ("gds-skylake-cpuid-r.txt", "has_lzcnt", "has_avx"),
        ("aida64-merom.txt", "has_ssse3", "has_sse41"),
    ],
)
def test_the_flags_of_another_machine(small, tmp_path, capture, on, off):
    """The record tells what it began with: what is safe there, and nothing more."""
    from cpuprobe.assessment import assess
    from cpuprobe.evidence.machines import read_capture
    from cpuprobe.facts.features import load_features

    record = tmp_path / "record.json"
    path = CAPTURES / capture
    result = run(small, "--flags-from", path, "--record", record, "--invoke", "add", "1", "2")
    if result.returncode == 3:
        pytest.skip(f"this CPU has less: {result.stderr.decode()}")
    flags = json.loads(record.read_bytes())["flags"]

    assert (result.returncode, result.stdout, result.stderr) == (0, b"3\n", b"")
    assert (flags[on], flags[off]) == (True, False)
    there, table = assess(read_capture(path)).features, load_features()
    assert [
        flag for flag in flags if flags[flag] and not there[table.by_cranelift[flag].name].safe
    ] == []


@needs_wasmtime
def test_another_machines_flags_for_a_release_that_no_table_knows(small, tmp_path):
    """The flags' names are then the newest known release's, as without the option."""
    from cpuprobe.evidence.installed import package_folder

    (tmp_path / "wasmtime-999.0.0.dist-info").mkdir()
    (tmp_path / "wasmtime").symlink_to(Path(package_folder() or "") / "wasmtime")
    path = CAPTURES / "aida64-merom.txt"
    for options in ((), ("--flags-from", path)):
        result = run(
            "--quiet",
            small,
            *options,
            "--invoke",
            "add",
            "1",
            "2",
            env={"PYTHONPATH": str(tmp_path)},
        )

        assert (result.returncode, result.stdout, result.stderr) == (0, b"3\n", b"")


@needs_wasmtime
@pytest.mark.parametrize(("content", "code"), [(b"hello", 4), (b"", 4), (b"\xff" * 100, 4)])
def test_flags_from_what_is_no_capture(small, tmp_path, content, code):
    path = tmp_path / "capture"
    path.write_bytes(content)
    result = run(small, "--flags-from", path, "--invoke", "add", "1", "2")

    assert (result.returncode, result.stdout) == (code, b"")
    assert result.stderr.count(b"\n") == 1


@needs_wasmtime
def test_flags_that_a_cpu_lacks_are_refused_in_one_line(small):
    """wasmtime asks CPUID, and the machine of the capture has more than an emulated Nehalem."""
    command = [sys.executable, "-m", "cpuprobe", "run", small, "--flags-from", ALDER_LAKE]
    try:
        result = run_user("Nehalem", [*command, "--invoke", "add", "1", "2"], timeout=300)
    except LabMissing as error:
        pytest.skip(str(error))
    told = [line for line in result.stderr.splitlines() if not line.startswith(b"qemu-")]

    assert (result.status, result.stdout) == ("exit 3", b"")
    assert len(told) == 1
    assert b"wasmtime refuses these flags here" in told[0]
    assert b'"has_' in told[0]
