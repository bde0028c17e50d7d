"""The C file of `--format guard`: it ends a program before the instruction that would."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpuprobe.emit import FORMATS, choose_alone
from cpuprobe.facts.profiles import find_profile
from cpuprobe.facts.wasmtime import lookup
from tests.lab.user import run_user
from tests.runtimes.programs import output, program

pytestmark = [pytest.mark.slow, pytest.mark.lab]

# A library and a program whose static initialisers use what they were built for.
INITIALISER = """
#include <cstdio>
#include <immintrin.h>
struct Table {
    unsigned long bits;
    Table() : bits(_pdep_u64(0x5a5a, 0xf0f0f0f0f0f0f0f0)) {
        volatile __m256i v = _mm256_set1_epi32((int)bits);
        bits += (unsigned long)_mm256_extract_epi64(_mm256_add_epi64(v, v), 2);
    }
};
Table table;
int main() { std::printf("%lx\\n", table.bits); }
"""


def guard_file(folder: Path) -> Path:
    path = folder / "guard.c"
    flags = choose_alone([find_profile("x86-64-v3")], lookup("50"))
    path.write_text(FORMATS["guard"](flags))
    return path


def built(
    folder: Path, compiler: str, code: str = "-fPIE", link: str = "-pie", *, guarded: bool = True
) -> Path:
    """The program, with the guard compiled for the baseline beside v3 code."""
    source = folder / "program.cc"
    source.write_text(INITIALISER)
    guard = folder / "guard.o"
    strict = ("-Wall", "-Wextra", "-Werror", "-O2")
    output([program(compiler), *strict, code, "-march=x86-64", "-c", "-o", str(guard),
            str(guard_file(folder))])  # fmt: skip
    target = folder / "program"
    first = [str(guard)] if guarded else []
    output([program(f"{compiler.replace('gcc', 'g')}++"), "-O2", "-march=x86-64-v3", code, link,
            *first, str(source), "-o", str(target)])  # fmt: skip
    return target


@pytest.mark.parametrize("how", ["-fPIE -pie", "-fno-pie -no-pie", "-fno-pie -static"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_it_speaks_before_static_initialisers(compiler: str, how: str, tmp_path: Path) -> None:
    """On Nehalem the guarded program names what is missing; on Haswell it runs."""
    target = built(tmp_path, compiler, *how.split())
    old = run_user("Nehalem", [target])
    new = run_user("Haswell", [target])

    assert (old.status, old.stdout) == ("exit 1", b"")
    text = old.stderr.decode()
    assert "this program was built for x86-64-v3; this machine lacks: " in text
    assert {"avx", "avx2", "bmi2", "movbe"} <= set(text.split(": ", 1)[1].strip().split(", "))
    assert "sse4.2" not in text
    assert new.status == "exit 0" and new.stdout


def test_without_it_the_program_dies(tmp_path: Path) -> None:
    """The program is one that needs the guard: alone it dies of SIGILL before main."""
    target = built(tmp_path, "gcc", guarded=False)
    died = run_user("Nehalem", [target])

    assert (died.status, died.stdout) == ("signal 4", b"")


def test_what_the_system_switched_off_is_said(tmp_path: Path) -> None:
    """A CPU that has AVX under a system that does not: XCR0 tells."""
    target = built(tmp_path, "gcc")
    seen = run_user("Haswell,-xsave", [target])

    assert seen.status == "exit 1"
    assert b"lacks: " in seen.stderr and b"xsave" in seen.stderr


def test_the_guard_is_refused_above_the_baseline(tmp_path: Path) -> None:
    """Compiled with the program's own flags it could die itself: an #error says what to do."""
    import subprocess

    done = subprocess.run(
        [program("gcc"), "-march=x86-64-v3", "-c", "-o", "/dev/null", str(guard_file(tmp_path))],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and "-march=x86-64" in done.stderr
