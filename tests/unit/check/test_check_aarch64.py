"""`check` of AArch64 files: what they hold, and what is chosen; QEMU says who is right."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path
from unittest.mock import Mock

import pytest
from tests import arm_fakes

from cpuprobe.check.against import HostCapabilities, machine, within
from cpuprobe.check.judge import Fit
from cpuprobe.check.many import check, expand
from cpuprobe.code import a64, a64_reach, a64_scan
from cpuprobe.code.budget import ROW
from cpuprobe.code.elf import ArtifactError, Held
from cpuprobe.code.layout import plan
from cpuprobe.code.program import Binary, CodeBytes
from cpuprobe.code.read import Reading, complete
from cpuprobe.facts.profiles import find_profile

GCC, QEMU = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
LIBRARIES = "/usr/aarch64-linux-gnu"

ATOMIC = """
#include <stdatomic.h>
atomic_int n;
int add(int x) { return atomic_fetch_add(&n, x); }
int main(int count, char **names) { return add(count) + !names; }
"""
LDADD = '__asm__ volatile(".arch armv8-a+lse\\nldadd %w1, %w0, [%2]"'
FAST = f"""
#include <sys/auxv.h>
static int fast(int *p) {{ int o; {LDADD} : "=r"(o) : "r"(1), "r"(p) : "memory"); return o; }}
static int slow(int *p) {{ return (*p)++; }}
"""
BY_CALL = (
    FAST
    + """
__attribute__((noinline)) int inc(int *p) {
    return getauxval(AT_HWCAP) & 1 << 8 ? fast(p) : slow(p);
}
int main(void) { int x = 0; return inc(&x); }
"""
)
BY_VARIABLE = (
    FAST
    + """
static unsigned long caps;
__attribute__((constructor)) static void ask(void) { caps = getauxval(AT_HWCAP); }
__attribute__((noinline)) int inc(int *p) { return caps & 1 << 8 ? fast(p) : slow(p); }
int main(void) { int x = 0; return inc(&x); }
"""
)
BY_LOADER = (
    FAST
    + """
static int (*choose(unsigned long caps))(int *) { return caps & 1 << 8 ? fast : slow; }
int inc(int *) __attribute__((ifunc("choose")));
int main(void) { int x = 0; return inc(&x); }
"""
)
BY_NULL = (
    FAST
    + """
static int *place;
int main(void) { static int x; if (!place) place = &x; return fast(place); }
"""
)
AT_LOAD = (
    FAST
    + """
static int x;
__attribute__((constructor)) static void init(void) { fast(&x); }
int main(void) { return 0; }
"""
)
DOT = """
#include <arm_neon.h>
int main(int count, char **names) {
    int8x16_t a = vdupq_n_s8(count);
    return names && vaddvq_s32(vdotq_s32(vdupq_n_s32(0), a, a)) == -1;
}
"""
# A name, the source, the compiler's options, what is expected without LSE and dot product.
PROGRAMS = (
    ("plain", ATOMIC, "-mno-outline-atomics", "runs"),
    ("outline", ATOMIC, "-moutline-atomics", "guarded"),
    ("outline-stripped", ATOMIC, "-moutline-atomics -s", "guarded"),
    ("outline-static", ATOMIC, "-moutline-atomics -static", "guarded"),
    ("inline", ATOMIC, "-march=armv8.1-a", "unguarded"),
    ("inline-stripped", ATOMIC, "-march=armv8.1-a -s", "unguarded"),
    ("inline-static", ATOMIC, "-march=armv8.1-a -static", "unguarded"),
    ("by-call", BY_CALL, "", "guarded"),
    ("by-variable", BY_VARIABLE, "-s", "guarded"),
    ("by-loader", BY_LOADER, "", "guarded"),
    ("by-null", BY_NULL, "", "unguarded"),
    ("at-load", AT_LOAD, "", "dies"),
    ("dot", DOT, "-march=armv8.2-a+dotprod", "unguarded"),
)
V80 = within(find_profile("armv8.0-a"))

pytestmark = pytest.mark.skipif(not (GCC and QEMU), reason="no cross compiler or no QEMU")


def build(folder: Path, name: str, source: str, options: str) -> Path:
    """A program, or a library if the options say so."""
    out = folder / name
    subprocess.run(
        [GCC or "", "-O2", *options.split(), "-x", "c", "-", "-o", out],
        input=source.encode(),
        check=True,
    )
    return out


def fit(path: Path, against: HostCapabilities) -> Fit:
    """How one file fits."""
    (found,) = check(expand([str(path)]).files, against, 1, lambda *_: None)
    return found


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All of PROGRAMS."""
    folder = tmp_path_factory.mktemp("a64")
    return {name: build(folder, name, source, options) for name, source, options, _ in PROGRAMS}


def test_a_verdict_is_what_an_emulated_cortex_a53_does(programs: dict[str, Path]) -> None:
    """Without LSE what is guarded lives, and what is not dies of SIGILL, as the verdict says."""
    for name, _, _, expected in PROGRAMS:
        found = fit(programs[name], V80)
        run = subprocess.run(
            [QEMU or "", "-cpu", "cortex-a53", "-L", LIBRARIES, programs[name]], check=False
        )

        assert found.expectation == expected, (name, found.reason)
        assert (run.returncode == -4) is (expected in ("unguarded", "dies")), name


def test_a_machine_that_has_it_runs_it(programs: dict[str, Path]) -> None:
    """Profiles and captures of AArch64; on x86-64 it stays foreign, as x86-64's files are here."""
    pi5 = arm_fakes.observation(arm_fakes.group((*arm_fakes.BASE, "lse", "asimdhp", "dotprod")))
    seen = machine("pi", pi5)

    assert fit(programs["inline"], within(find_profile("armv8.2-a"))).expectation == "runs"
    assert fit(programs["dot"], within(find_profile("armv8.2-a"))).missing == ("dotprod",)
    assert fit(programs["inline"], seen).expectation == "runs"
    foreign = fit(programs["inline"], within(find_profile("x86-64-v3")))
    assert (foreign.expectation, foreign.reason) == ("foreign", "code for AArch64, not x86-64")
    assert fit(Path("/proc/self/exe").resolve(), V80).reason == "code for x86-64, not AArch64"


def test_a_library_is_reached_by_its_exports(tmp_path: Path) -> None:
    found = fit(build(tmp_path, "lib.so", ATOMIC, "-march=armv8.1-a -shared -fPIC"), V80)

    assert found.expectation == "unguarded"
    assert "a function that others may call (add)" in found.reason
    assert found.needs is not None and found.needs.features["lse"].places[0].name == "add"


def test_a_way_begins_where_others_come_in(tmp_path: Path) -> None:
    """Not in the function of the library's own that it leads to."""
    source = ATOMIC.split("int main", maxsplit=1)[0].replace(
        "int add", "static __attribute__((noinline)) int add"
    ) + ("int outer(int x) { return add(x) + add(x + 1); }")
    found = fit(build(tmp_path, "lib.so", source, "-march=armv8.1-a -shared -fPIC"), V80)

    assert "a function that others may call (outer)" in found.reason


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("dot_ASIMDDP", "guarded"),
        ("sgemm_NEOVERSEN1", "guarded"),
        ("unpack_sve256", "guarded"),
        ("_ZN3hwy6N_NEON4SortEv", "guarded"),
        ("solve", "unguarded"),
        ("svedala", "unguarded"),
    ],
)
def test_who_calls_a_function_named_for_cpus_chose(tmp_path: Path, name: str, verdict: str) -> None:
    """In a library that asks: NumPy, OpenBLAS and Arrow export such kernels, and run anywhere."""
    source = (
        FAST
        + f"int {name}(int *p) {{ return fast(p); }}\n"
        + ("int inc(int *p) { return getauxval(AT_HWCAP) & 1 << 8 ? 1 : slow(p); }\n")
    )

    assert fit(build(tmp_path, "lib.so", source, "-shared -fPIC"), V80).expectation == verdict


def test_data_among_code_is_no_code() -> None:
    """A word of LSE between words that no CPU executes, in bytes of no function."""
    ldadd, text = (0xF8210001).to_bytes(4, "little"), b"constants for AArch64, not code. " * 3
    code = CodeBytes(1, ".text", 0x1000, text + bytes(-len(text) % 4) + ldadd + text)
    file = Binary("AArch64", "library", code=[code])
    alone = Binary("AArch64", "library", code=[code.__class__(1, ".text", 0x1000, ldadd * 64)])

    assert a64_scan.scan(file, plan(file)).features == {}
    assert a64_scan.scan(alone, plan(alone)).features["lse"].instructions == 64


def test_dense_code_is_bounded_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal words are looked up once, each hit is charged, and following them ends."""
    row_of = Mock(wraps=a64.row_of)
    is_unallocated = Mock(wraps=a64.is_unallocated)
    monkeypatch.setattr(a64, "row_of", row_of)
    monkeypatch.setattr(a64, "is_unallocated", is_unallocated)
    monkeypatch.setattr(a64_reach, "MOST_FOLLOWED", 1000)
    count, rdvl = 50_000, (0x04BF5020).to_bytes(4, "little")
    code = CodeBytes(1, ".text", 0x1000, rdvl * count)
    file = Binary("AArch64", "executable", entry=0x1000, code=[code])
    found = a64_scan.scan(file, plan(file))
    way = a64_reach.Reached(file, frozenset({"sve"}))

    assert found.features["sve"].instructions == count
    assert found.steps >= ROW * count
    assert row_of.call_count + is_unallocated.call_count <= 3
    assert (way.ways, way.followed) == ({}, 1000)


def test_a_damaged_file_is_read_or_refused(programs: dict[str, Path]) -> None:
    """Bytes of a program changed at random: headers, tables and code."""
    whole, some = programs["by-call"].read_bytes(), random.Random(183)
    read = 0
    for _ in range(80):
        damaged = bytearray(whole)
        for _ in range(some.randrange(1, 6)):
            damaged[some.choice((some.randrange(64), some.randrange(len(whole))))] = some.randrange(
                256
            )
        damaged[:20] = whole[:20]
        try:
            reading = Reading(Held(bytes(damaged)), "aarch64")
            complete(reading, reading.scan())
            read += 1
        except ArtifactError:
            pass

    assert read > 10
