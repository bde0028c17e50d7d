"""Lists in which a number, or a text, beside a function says for which CPU it is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("iced_x86")

from tests.needs import read_needs

from cpuprobe.check.against import within
from cpuprobe.check.judge import judge
from cpuprobe.facts.profiles import find_profile

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")

# As PipeWire's mixer: who loads it tells it what the CPU can do, through a table of functions.
SOURCE = """
#define OLD static __attribute__((noipa))
#define NEW static __attribute__((target("arch=haswell"), noipa))
static float a[1000];
#define LOOP(k) { for (int i = 0; i < 1000; i++) a[i] = a[i] * a[i] + k; }
NEW void inner(void) LOOP(1)
NEW void one(void) { inner(); LOOP(2) } NEW void other(void) LOOP(3)
OLD void third(void) LOOP(4) OLD void fourth(void) LOOP(5)
struct row { unsigned format, channels, flags, stride; void (*mix)(void); const char *name; };
static const struct row rows[] = { ROWS };
struct cpu { unsigned (*flags)(struct cpu *); }; struct mixer { void (*mix)(void); };
OLD const struct row *find(unsigned flags, unsigned format) {
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].format == format && (rows[i].flags & flags) == rows[i].flags) return &rows[i];
    return 0; }
int begin(struct mixer *mixer, struct cpu *cpu, unsigned format) {
    const struct row *row = find(cpu->flags(cpu), format);
    mixer->mix = row ? row->mix : 0; return row != 0; }
void mix(struct mixer *mixer) { mixer->mix(); }
"""
FLAGS = "{7, 0, 8, 4, one}, {9, 0, 8, 4, other}, {7, 0, 0, 4, third}, {9, 0, 0, 4, fourth}"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (FLAGS, "guarded"),
        # The flag is that of one for every CPU as well.
        (FLAGS.replace("9, 0, 0", "9, 0, 8"), "unguarded"),
        # Nothing else has its key; numbers that count; no number at all.
        (FLAGS.replace("{9, 0, 0", "{5, 0, 0"), "unguarded"),
        ("{7, 0, 1, 4, one}, {7, 0, 0, 4, third}, {7, 0, 2, 4, fourth}", "unguarded"),
        (FLAGS.replace("8, 4", "0, 4"), "unguarded"),
        ('{7, 0, 1, 4, one, "one_avx2"}, {7, 0, 0, 4, third, "third_c"}', "guarded"),
        ('{7, 0, 1, 4, one, "one"}, {7, 0, 0, 4, third, "third_avx2"}', "unguarded"),
    ],
)
@pytest.mark.parametrize("way", [(), ("-s",)])
def test_a_number_or_a_text_beside_it_says_for_which_cpu_a_function_is(
    rows: str, expected: str, way: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "a.c").write_text(SOURCE.replace("ROWS", rows))
    command = ["gcc", "-O2", "-w", "-shared", "-fPIC", *way, "a.c", "-o", "a.so"]
    subprocess.run(command, cwd=tmp_path, check=True)
    path = str(tmp_path / "a.so")
    fit = judge(path, read_needs(path), within(find_profile("x86-64-v2")))

    assert fit.expectation == expected, fit.reason
