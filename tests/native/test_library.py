"""libcpuprobe in programs of other languages, and what it does to the process that has it."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cpuprobe.evidence.installed import installed_version
from tests.agreement import disagreements
from tests.native.conftest import CORE_SOURCES, FLAGS, HERE, NATIVE, PUBLIC, ROOT
from tests.required import required

EXAMPLES = ROOT / "docs" / "examples" / "embed"
LIAR = "Haswell,x-force-features=on,+avx512f,+avx512vl,+avx512dq"
MODELS = ("qemu64", "Nehalem", "SandyBridge", "Haswell", "EPYC", LIAR)
# Where CPUID lies, glibc's own string functions die before main unless it is told.
FOR_GLIBC = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512DQ,-AVX512BW"}
WAIT4 = 61  # arch/x86/entry/syscalls/syscall_64.tbl
# i64x2.mul is VPMULLQ where AVX-512 is claimed, which the lying CPU does not execute. Of constants
# wasmtime makes the product itself.
MODULE = """(module (memory 1) (data (i32.const 0) "\\06") (data (i32.const 16) "\\07")
  (func (export "answer") (result i32)
    (i32.wrap_i64 (i64x2.extract_lane 0
      (i64x2.mul (v128.load (i32.const 0)) (v128.load (i32.const 16)))))))"""

SCALAR = '(module (func (export "answer") (result i32) (i32.const 42)))'


def run(
    *command: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )


def built(*command: object, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
    """Run a compiler; its complaint is the failure."""
    done = run(*command, env=env, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def linked(prefix: Path) -> list[str]:
    """What pkg-config says to a compiler."""
    done = run(required("pkg-config"), "--cflags", "--libs", "cpuprobe", env=_pkg_config(prefix))
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def _pkg_config(prefix: Path) -> dict[str, str]:
    return {"PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")}


Build = Callable[[Path, Path, list[str]], Path]


def c(*options: str, compiler: str = "gcc", source: str = "flags.c") -> Build:
    """A C or C++ example, compiled with these options."""

    def build(folder: Path, prefix: Path, linked: list[str]) -> Path:
        program = folder / "program"
        command = [required(compiler), "-Wall", "-Wextra", "-Werror", *options, EXAMPLES / source]
        built(*command, *linked, "-o", program)
        return program

    return build


def rust(folder: Path, prefix: Path, linked: list[str]) -> Path:
    """The Rust example."""
    program = folder / "program"
    built(required("rustc"), EXAMPLES / "flags.rs", "-L", f"native={prefix / 'lib'}", "-o", program)
    return program


def go(folder: Path, prefix: Path, linked: list[str]) -> Path:
    """The Go example."""
    program = folder / "program"
    cache = {"GOCACHE": str(folder / "cache"), "GO111MODULE": "off", "CGO_ENABLED": "1"}
    env = {**_pkg_config(prefix), **cache}
    built(required("go"), "build", "-o", program, EXAMPLES / "flags.go", env=env)
    return program


def cmake(folder: Path, prefix: Path, linked: list[str]) -> Path:
    """The C example by its CMakeLists.txt, which finds the package."""
    found = f"-DCMAKE_PREFIX_PATH={prefix}"
    built(required("cmake"), "-S", EXAMPLES, "-B", folder / "made", found)
    built("cmake", "--build", folder / "made")
    return folder / "made" / "flags"


def shared(folder: Path, prefix: Path, linked: list[str]) -> Path:
    """The C example over a shared library that has libcpuprobe inside."""
    whole = ["-Wl,--whole-archive", *linked, "-Wl,--no-whole-archive"]
    built(required("gcc"), "-shared", "-o", folder / "libinside.so", *whole)
    include = f"-I{prefix / 'include'}"
    rest = [folder / "libinside.so", f"-Wl,-rpath,{folder}", "-o", folder / "program"]
    built("gcc", include, EXAMPLES / "flags.c", *rest)
    return folder / "program"


PROGRAMS: dict[str, Build] = {
    "C": c(),
    "C, static": c("-static"),
    "C, static PIE": c("-static-pie", "-fPIE"),
    "C, clang": c(compiler="clang"),
    "C, musl": c("-static", compiler="musl-gcc"),
    "C, collected": c("-Wl,--gc-sections"),
    "C, CMake": cmake,
    "C, in a shared library": shared,
    "C++": c("-std=c++11", compiler="g++", source="flags.cpp"),
    "Rust": rust,
    "Go": go,
}
# A process is started under each model for these; the others only on this CPU and the lying one.
EVERYWHERE = ("C", "Rust")


def flags_of(text: str) -> dict[str, str]:
    return dict(line.split("=") for line in text.splitlines())


@pytest.fixture(scope="module")
def wanted(native_builds: tuple[Path, Path]) -> dict[str | None, dict[str, str]]:
    """What cpuprobe-native says here (None) and under each model."""
    native = native_builds[0]
    qemu = required("qemu-x86_64")
    found: dict[str | None, dict[str, str]] = {None: flags_of(run(native, "flags").stdout)}
    for model in MODELS:
        found[model] = flags_of(run(qemu, "-cpu", model, native, "flags").stdout)
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_examples(
    name: str,
    prefix: Path,
    linked: list[str],
    wanted: dict[str | None, dict[str, str]],
    tmp_path: Path,
) -> None:
    """Each language prints what cpuprobe-native prints, here and where CPUID lies."""
    program = PROGRAMS[name](tmp_path, prefix, linked)
    argument = [tmp_path / "cache"] if name == "C++" else []
    qemu = required("qemu-x86_64")

    assert flags_of(run(program, *argument).stdout) == wanted[None]
    for model in MODELS if name in EVERYWHERE else (LIAR,):
        done = run(qemu, "-cpu", model, program, *argument, env=FOR_GLIBC)
        assert done.returncode == 0, done.stderr
        assert flags_of(done.stdout) == wanted[model], model
    assert wanted[LIAR]["has_avx2"] == "true"
    assert wanted[LIAR]["has_avx512f"] == "false"


def test_the_examples_are_short() -> None:
    """Printing the safe flags takes some twenty lines."""
    for name in ("flags.c", "flags.rs"):
        assert len((EXAMPLES / name).read_text().splitlines()) < 25


def test_an_engine_of_wasmtime(prefix: Path, linked: list[str], tmp_path: Path) -> None:
    """wasmtime's own library, told the safe flags, runs SIMD here and where CPUID lies.

    There the same program dies of what wasmtime infers, if it is not told. In a sandbox that denies
    the child it interprets.
    """
    wasmtime = pytest.importorskip("wasmtime")
    (library,) = Path(wasmtime.__file__).parent.rglob("_libwasmtime.so")
    program, module = tmp_path / "engine", tmp_path / "module.wat"
    module.write_text(MODULE)
    major = (installed_version() or "").partition(".")[0]
    options = ["-Wall", "-Wextra", "-Werror", f"-I{HERE / 'stubs'}", f"-DWASMTIME_MAJOR={major}"]
    options += [str(EXAMPLES / "engine.c"), *linked, str(library), f"-Wl,-rpath,{library.parent}"]
    built(required("gcc"), *options, "-o", program)
    settings = ("wasmtime_config_target_set", "wasmtime_config_cranelift_flag_set")
    unheard = [HERE / "unheard.c", *(f"-Wl,--wrap={name}" for name in settings)]
    built("gcc", *options, *unheard, "-o", tmp_path / "unheard")
    built("gcc", HERE / "sandbox.c", "-o", tmp_path / "sandbox")
    denied = run(tmp_path / "sandbox", "deny", WAIT4, program, module)

    assert run(program, module).stdout == "42\n"
    assert denied.stdout == "42\n"
    assert "cannot measure here" in denied.stderr and "interpreting instead" in denied.stderr
    lying = run(required("qemu-x86_64"), "-cpu", LIAR, program, module, env=FOR_GLIBC)
    assert (lying.returncode, lying.stdout) == (0, "42\n"), lying.stderr
    untold = (tmp_path / "unheard", module)
    assert run(*untold).stdout == "42\n"
    dies = run("qemu-x86_64", "-cpu", LIAR, *untold, env=FOR_GLIBC)
    # Under QEMU the handler that wasmtime has for its own traps dies of the SIGILL that it gets.
    assert (-dies.returncode, dies.stdout) in ((signal.SIGILL, ""), (signal.SIGSEGV, ""))
    module.write_text(SCALAR)
    scalar = run("qemu-x86_64", "-cpu", LIAR, *untold, env=FOR_GLIBC)
    assert (scalar.returncode, scalar.stdout) == (0, "42\n"), scalar.stderr


def test_an_engine_in_rust(
    prefix: Path, wanted: dict[str | None, dict[str, str]], tmp_path: Path
) -> None:
    """wasmtime::Config gets the target first, then each flag with its value."""
    rustc = required("rustc")
    crate, program = tmp_path / "libwasmtime.rlib", tmp_path / "engine"
    edition = ["--edition", "2021"]
    kind = ["--crate-type", "rlib", "--crate-name", "wasmtime"]
    built(rustc, *kind, *edition, HERE / "stubs" / "wasmtime.rs", "-o", crate)
    rest = ["-L", f"native={prefix / 'lib'}", "--extern", f"wasmtime={crate}", "-o", program]
    built(rustc, *edition, EXAMPLES / "engine.rs", *rest)
    target, *flags = run(program).stdout.splitlines()

    assert target == "target x86_64-unknown-linux-gnu"
    assert flags_of("\n".join(flags)) == wanted[None]


def test_only_public_names(prefix: Path) -> None:
    """No other name of the library can collide with one of the program's, and it needs none."""
    done = run(required("nm"), "--extern-only", prefix / "lib" / "libcpuprobe.a")
    kinds = dict(re.findall(r" ([A-Za-z]) (\w+)$", done.stdout, re.MULTILINE))
    defined = set(re.findall(r" T (\w+)$", done.stdout, re.MULTILINE))
    undefined = set(re.findall(r" U (\w+)$", done.stdout, re.MULTILINE))

    assert set(kinds) <= {"T", "U"}
    assert defined == set(PUBLIC)
    assert undefined <= {"_GLOBAL_OFFSET_TABLE_"}


def test_the_header_is_c_and_cpp(prefix: Path, tmp_path: Path) -> None:
    """cpuprobe.h compiles by itself in strict C99 and C++11."""
    source = tmp_path / "only.c"
    source.write_text("#include <cpuprobe.h>\n")
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{prefix / 'include'}", "-c"]
    built(required("gcc"), "-std=c99", *flags, source, "-o", tmp_path / "c.o")
    built(required("g++"), "-std=c++11", *flags, "-x", "c++", source, "-o", tmp_path / "cpp.o")


@pytest.mark.parametrize("sanitized", [False, True], ids=["plain", "sanitized"])
def test_a_host_with_its_own_affairs(
    sanitized: bool, prefix: Path, linked: list[str], tmp_path: Path
) -> None:
    """Handlers, children, 200 threads, small and crooked stacks: nothing is touched or kept."""
    program = tmp_path / "embedder"
    command: list[object] = [
        required("gcc"),
        "-pthread",
        *FLAGS,
        HERE / "embedder.c",
        "-o",
        program,
    ]
    if sanitized:
        command += ["-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all"]
        command += [f"-I{NATIVE / 'library'}", *CORE_SOURCES, *(NATIVE / "library").glob("*.c")]
    else:
        command += ["-O2", *linked]
    built(*command)
    done = run(program, tmp_path / "cache")

    assert (done.returncode, done.stdout) == (0, "untouched\n"), done.stderr


def test_errors_have_numbers_and_words(library: ctypes.CDLL) -> None:
    """What cannot be done is a negative number with a text of its own, and nothing is written."""
    out = ctypes.create_string_buffer(1024)
    errors = {
        library.cpuprobe_safe_flags(0, None, 0),
        library.cpuprobe_safe_flags(26, out, 1024),
        library.cpuprobe_safe_flags(0, out, 10),
    }
    texts = {library.cpuprobe_error_text(error) for error in errors}

    assert errors == {-5, -4, -3}
    assert len(texts) == 3
    assert out.raw == bytes(1024)
    assert library.cpuprobe_error_text(0) == b"no error"
    assert library.cpuprobe_error_text(-99)


def test_the_document_is_that_of_cpuprobe_native(library: ctypes.CDLL) -> None:
    """What is observed through the library is a report that agrees with itself."""
    out = ctypes.create_string_buffer(262144)
    length = library.cpuprobe_observe_json(out, 262144)

    assert length > 1000
    assert len(out.value) == length
    assert disagreements(out.value) == []


class Options(ctypes.Structure):
    """struct cpuprobe_options, and a member of a later version."""

    _fields_ = [
        ("size", ctypes.c_size_t),
        ("cpus", ctypes.c_char_p),
        ("root", ctypes.c_char_p),
        ("no_exec", ctypes.c_int),
        ("wasmtime", ctypes.c_uint),
        ("later", ctypes.c_uint64),
    ]


class Verdict(ctypes.Structure):
    """struct cpuprobe_verdict."""

    _fields_ = [
        ("size", ctypes.c_size_t),
        ("level", ctypes.c_int),
        ("mismatch", ctypes.c_int),
        ("wasmtime", ctypes.c_uint),
        ("flags", ctypes.c_char * 1024),
    ]


def test_structs_of_other_versions(library: ctypes.CDLL) -> None:
    """A shorter struct is filled as far as it goes; a longer one may ask for nothing new."""
    cpu = str(min(os.sched_getaffinity(0))).encode()
    options = Options(size=ctypes.sizeof(Options), cpus=cpu, wasmtime=47)
    verdict = Verdict(size=ctypes.sizeof(Verdict))
    short = Verdict(size=16, wasmtime=7)

    assert library.cpuprobe_judge(ctypes.byref(options), ctypes.byref(verdict)) == 0
    assert verdict.wasmtime == 47
    assert b"has_avx_vnni" not in verdict.flags and b"has_avx512f=" in verdict.flags
    assert verdict.level == library.cpuprobe_level()
    assert library.cpuprobe_judge(None, ctypes.byref(short)) == 0
    assert (short.level, short.wasmtime) == (verdict.level, 7)
    options.later = 1
    assert library.cpuprobe_judge(ctypes.byref(options), ctypes.byref(verdict)) == -5
    assert library.cpuprobe_judge(None, ctypes.byref(Verdict(size=0))) == -5
    options.later, options.cpus = 0, b"70000"
    assert library.cpuprobe_judge(ctypes.byref(options), ctypes.byref(verdict)) == -5
