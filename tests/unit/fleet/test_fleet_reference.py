"""The reference fleet: counts that anyone can redo, told with their source, date and bias."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fleet.common import covered, cpuprobe, five, write_folder

from cpuprobe.facts.features import load_features, load_levels
from cpuprobe.facts.tables import tables_folder
from cpuprobe.fleet.reference import BUILT_IN

TABLE = Path(tables_folder()) / BUILT_IN
SOURCE, DATE, BIAS = "github.com/linuxhw/LsCPU", "up to March 2022", "no sample of all machines"
HEAD = "# source: us\n# date: 2026\n# bias: two of ours\n"


def rows():
    """Architecture, machines and words of each line, by nothing but splitting it."""
    for line in TABLE.read_text().splitlines():
        if not line.startswith("#"):
            fields = line.split("\t")
            yield fields[3], int(fields[5]), set(fields[6].split())


def test_levels_are_what_a_count_over_the_words_gives(capfdbinary):
    """Without an assessment: the words of each psABI level, on 64-bit kernels."""
    found = cpuprobe(capfdbinary, "fleet", "--reference", "--json").json
    table = load_features()

    for level in load_levels():
        needed = {table[name].kernel.flag for name in level.features} - {None}
        count = sum(
            machines for isa, machines, words in rows() if isa == "x86_64" and needed <= words
        )
        assert covered(found["levels"])[level.name] == count, level.name
    assert found["total"]["machines"] == 147_826 == sum(machines for _, machines, _ in rows())


def test_what_a_default_leaves_out(capfdbinary):
    """x86-64-v3 more than half of them; the CPUs add up to that."""
    found = cpuprobe(capfdbinary, "profile", "cost", "x86-64-v3", "x86-64-v1", "--json").json

    v3, v1 = found["profiles"]
    assert (v3["name"], v1["name"]) == ("x86-64-v3", "x86-64-v1")
    assert v3["excluded"]["share"] > 0.5
    assert v1["excluded"]["share"] < 0.1
    assert sum(each["machines"]["machines"] for each in v3["cpus"]) == v3["excluded"]["machines"]
    counts = [each["machines"]["machines"] for each in v3["cpus"]]
    assert counts == sorted(counts, reverse=True)
    assert v3["cpus"][0]["cpu"] == "Sandy Bridge (GenuineIntel family 6 model 42)"


@pytest.mark.parametrize(
    "arguments",
    [
        ["profile", "cost", "haswell"],
        ["profile", "cost", "haswell", "--json"],
        ["fleet", "--reference"],
        ["fleet", "--reference", "--json"],
        ["fleet", "--reference", "--html", "-"],
    ],
)
def test_source_date_and_bias_are_said_each_time(arguments, capfdbinary):
    """As text, as JSON and on the page."""
    ran = cpuprobe(capfdbinary, *arguments)

    said = " ".join(ran.out.decode().split())
    assert (ran.code, ran.err) == (0, "")
    assert SOURCE in said
    assert DATE in said
    assert BIAS in said


def test_another_table(capfdbinary, tmp_path):
    """Pasted, so that tabs are blanks; an unknown CPU is called by its numbers."""
    path = tmp_path / "t.txt"
    words = "fpu cx8 cmov mmx fxsr sse sse2 syscall lm"
    path.write_text(f"{HEAD}GenuineIntel 6 200 x86_64 no 3 {words}\nX - - i686 yes 1\n")

    cost = cpuprobe(capfdbinary, "profile", "cost", "x86-64-v2", "--reference", path, "--json").json
    text = cpuprobe(capfdbinary, "fleet", "--reference", path)

    assert cost["reference"]["source"] == "us"
    assert cost["reference"]["licence"] == "not stated"
    assert cost["profiles"][0]["excluded"]["machines"] == 4
    assert [each["cpu"] for each in cost["profiles"][0]["cpus"]] == [
        "GenuineIntel family 6 model 200",
        "X family - model -",
    ]
    assert b"4 machines: x86-64-v1 covers 75.0 %" in text.out


@pytest.mark.parametrize(
    "line",
    [
        "GenuineIntel 6 58 x86_64 no",
        "GenuineIntel 6 58 x86_64 no 0 sse",
        "GenuineIntel 6 58 x86_64 no 99999999999 sse",
        "GenuineIntel 6 58 aarch64 no 1 asimd",
        "GenuineIntel 6 58 x86_64 perhaps 1 sse",
        "GenuineIntel x 58 x86_64 no 1 sse",
        "GenuineIntel 6 58 x86_64 no 1 sse \x1b[2J",
        "\u202eX 6 58 x86_64 no 1 sse",
        "",
    ],
)
def test_what_is_no_table_is_refused(line, capfdbinary, tmp_path):
    """Exit code 4, one line, with the number of what is wrong."""
    (tmp_path / "t").write_text(f"{HEAD}{line}\n")

    for arguments in (
        ["fleet", "--reference", tmp_path / "t"],
        ["profile", "cost", "haswell", "--reference", tmp_path / "t"],
    ):
        ran = cpuprobe(capfdbinary, *arguments)
        assert (ran.code, ran.out) == (4, b"")
        assert ("line 4" if line else "no machines") in ran.err
        assert ran.err.count("\n") == 1


def test_a_fleet_of_ones_own_becomes_a_table(capfdbinary, tmp_path):
    """Counts only; read back it has the same levels, and so has it from tables."""
    folder = write_folder(tmp_path / "zzalice", five())
    cpuprobe(capfdbinary, "fleet", "ingest", folder, "-o", tmp_path / "t")

    own = cpuprobe(capfdbinary, "fleet", folder, "--json", "--export", tmp_path / "a.tsv")
    cpuprobe(capfdbinary, "fleet", tmp_path / "t", "--json", "--export", tmp_path / "b.tsv")
    again = cpuprobe(capfdbinary, "fleet", "--reference", tmp_path / "a.tsv", "--json")

    written = (tmp_path / "a.tsv").read_text()
    assert written == (tmp_path / "b.tsv").read_text()
    assert covered(again.json["levels"]) == covered(own.json["levels"])
    assert "5 machines" in again.json["reference"]["source"]
    assert not any(word in written for word in ("alice", "6.12", "Model", ".json", "CP101"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["fleet"],
        ["fleet", "--reference", "a", "b"],
        ["fleet", "--reference", "--strict"],
        ["fleet", "--reference", "--export", "x"],
        ["fleet", "ingest", "x", "-o", "y", "--export", "z"],
        ["profile", "cost"],
        ["profile", "cost", "nothing"],
    ],
)
def test_bad_requests(arguments, capfdbinary):
    """Exit code 2."""
    ran = cpuprobe(capfdbinary, *arguments)

    assert (ran.code, ran.out) == (2, b"")
