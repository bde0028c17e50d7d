"""`cpuprobe fleet`: the same answer from every kind of input, weights, errors, tables."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
from typing import Literal

import msgspec
import pytest
from tests.fakes import V2, V3, group, observation
from tests.fleet.common import CAPTURES, covered, cpuprobe, five, report, write_folder

from cpuprobe.facts.features import load_features
from cpuprobe.fleet.model import Fleet

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
duckdb = pytest.importorskip("duckdb")

FIVE_LEVELS = {"x86-64-v1": 5, "x86-64-v2": 5, "x86-64-v3": 3, "x86-64-v4": 1}


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "reports", five())


def test_five_machines(capfdbinary, folder):
    """What can be counted by hand."""
    ran = cpuprobe(capfdbinary, "fleet", folder, "--json", "--flags", "has_avx2, has_fma")
    found = ran.json

    assert ran.code == 1  # the machine whose AVX is off has a finding of severity error
    assert ran.err == ""
    assert msgspec.json.decode(ran.out, type=Fleet).schema == "cpuprobe.fleet/1"
    assert found["total"] == {"machines": 5, "weight": 5.0, "share": 1.0}
    assert found["executed"]["machines"] == 5
    assert found["mismatched"]["machines"] == 1
    assert covered(found["levels"]) == FIVE_LEVELS
    assert covered(found["flag_sets"]) == {"has_avx2,has_fma": 3}
    assert found["features"]["avx512f"] == {"machines": 1, "weight": 1.0, "share": 0.2}
    assert [step["covered"]["machines"] for step in found["curve"]] == [5, 4, 3, 1, 0]
    assert found["kernels"][0]["value"] == "6.12.48"
    assert found["kernels"][0]["levels"] == {
        "none": 0.0,
        "x86-64-v1": 0.0,
        "x86-64-v2": 1 / 3,
        "x86-64-v3": 1 / 3,
        "x86-64-v4": 1 / 3,
    }
    (error,) = (each for each in found["findings"] if each["severity"] == "error")
    assert (error["code"], error["machines"]["machines"]) == ("CP101", 1)
    assert "Downfall" in error["cause"]


def test_the_gds_machine_counts_with_what_wasmtime_accepts(capfdbinary, folder):
    """BMI1 is safe on it, and yet wasmtime's detector refuses the flag (CP504)."""
    found = cpuprobe(capfdbinary, "fleet", folder, "--json", "--flags", "has_bmi1").json

    assert found["features"]["bmi"]["machines"] == 4
    assert covered(found["flag_sets"]) == {"has_bmi1": 3}


def test_targets_are_the_largest_sets_that_cover_enough(capfdbinary, folder):
    """80 % is four of five machines; what is wanted may be asked for."""
    found = cpuprobe(capfdbinary, "fleet", folder, "--json", "--coverage", "60,100").json

    everybody, most = found["targets"]
    assert (everybody["wanted"], most["wanted"]) == (1.0, 0.6)
    assert everybody["best"]["covered"]["machines"] == 5
    assert set(everybody["best"]["flags"]) == {
        "has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt", "has_cmpxchg16b"
    }  # fmt: skip
    assert most["best"]["covered"]["machines"] == 3
    assert {"has_avx2", "has_fma", "has_bmi1"} < set(most["best"]["flags"])
    assert [each["k"] for each in found["best"]] == list(range(len(found["best"])))


def inputs(tmp_path, files):
    """The same captures in every form that is read, by what the form is called."""
    folder = write_folder(tmp_path / "folder", files)
    contents = [files[name] for name in sorted(files)]
    lines = tmp_path / "fleet.jsonl"
    lines.write_bytes(b"".join(each + b"\n" for each in contents))
    wrapped = tmp_path / "wrapped.ndjson"
    wrapped.write_bytes(
        b"".join(msgspec.json.encode({"capture": each.decode()}) + b"\n" for each in contents)
    )
    array = tmp_path / "fleet.json"
    array.write_bytes(b"[" + b",".join(contents) + b"]")
    packings: tuple[tuple[str, Literal["w", "w:gz", "w:xz"]], ...]
    packings = (("fleet.tar", "w"), ("fleet.tar.gz", "w:gz"), ("fleet.tar.xz", "w:xz"))
    for name, mode in packings:
        with tarfile.open(tmp_path / name, mode) as tar:
            tar.add(folder, "reports")
    pq.write_table(pa.table({"capture": contents}), tmp_path / "fleet.parquet")
    return {
        "folder": [folder],
        "files": sorted(folder.iterdir()),
        "pattern": [folder / "*.json"],
        "lines": [lines],
        "wrapped": [wrapped],
        "array": [array],
        "tar": [tmp_path / "fleet.tar"],
        "gz": [tmp_path / "fleet.tar.gz"],
        "xz": [tmp_path / "fleet.tar.xz"],
        "parquet": [tmp_path / "fleet.parquet"],
        "twice a half": [*sorted(folder.iterdir())[:2], folder / "[c-e]*"],
    }


def test_every_form_gives_the_same_fleet(capfdbinary, tmp_path):
    """Folder, pattern, archive, lines, array, Parquet, tables, a pipe."""
    forms = inputs(tmp_path, five())
    expected = cpuprobe(capfdbinary, "fleet", *forms["folder"], "--json").out

    assert json.loads(expected)["total"]["machines"] == 5
    for name, paths in forms.items():
        assert cpuprobe(capfdbinary, "fleet", *paths, "--json").out == expected, name
    made = cpuprobe(capfdbinary, "fleet", "ingest", *forms["tar"], "-o", tmp_path / "tables")
    assert (made.code, made.err) == (0, "")
    assert cpuprobe(capfdbinary, "fleet", tmp_path / "tables", "--json").out == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lines", "gz", "array", "tar"])
def test_the_same_from_a_pipe(name, capfdbinary, tmp_path):
    """What standard input holds shows by its content, too."""
    forms = inputs(tmp_path, five())
    expected = cpuprobe(capfdbinary, "fleet", *forms["folder"], "--json").out

    piped = subprocess.run(
        [sys.executable, "-m", "cpuprobe", "fleet", "-", "--json"],
        input=forms[name][0].read_bytes(),
        capture_output=True,
    )

    assert (piped.returncode, piped.stdout) == (1, expected)


def test_tables_and_captures_together(capfdbinary, tmp_path):
    """Tables of a part of the fleet, and the rest raw: each counts once."""
    files = five()
    first = write_folder(tmp_path / "first", dict(list(files.items())[:3]))
    rest = write_folder(tmp_path / "rest", dict(list(files.items())[3:]))
    whole = cpuprobe(capfdbinary, "fleet", first, rest, "--json").out
    cpuprobe(capfdbinary, "fleet", "ingest", first, "-o", tmp_path / "t1")
    cpuprobe(capfdbinary, "fleet", "ingest", rest, "-o", tmp_path / "t2")

    assert cpuprobe(capfdbinary, "fleet", tmp_path / "t1", rest, "--json").out == whole
    assert cpuprobe(capfdbinary, "fleet", tmp_path / "t2", tmp_path / "t1", "--json").out == whole


def test_the_curve_against_a_script_of_ten_lines(capfdbinary):
    """The same rule in a few lines over `cpuprobe inspect --json`, for the captures at hand."""
    paths = sorted(CAPTURES.glob("*.txt"))
    reports = cpuprobe(capfdbinary, "inspect", *paths, "--json").json
    fleet = cpuprobe(capfdbinary, "fleet", *paths, "--json").json

    found = [r["assessment"] for r in reports]
    reports = [{"assessment": a} for a in found if a["level_at_least"] == a["level_at_most"]]
    assert sum(each["machines"] for each in fleet["unknown"]) == len(found) - len(reports) == 1
    none = {"xsaves", "enqcmd", "prfchw", "cldemote", "avx10.1"}  # that no program can need
    none |= {"hle", "ibt", "shstk", "kl", "widekl", "uintr", "usermsr", "hreset"}
    safe = [{f for f, v in r["assessment"]["features"].items() if v["safe"]} for r in reports]
    sets = [each - none for each in safe]
    order, alive, has = list(load_features()), sets, set.intersection(*sets)
    curve = [(len(sets), has)]
    while rest := set.union(*sets) - has:
        parts = {f: [s for s in alive if f in s] for f in rest}
        shared = {f: set.intersection(*p) if p else set.union(*sets) for f, p in parts.items()}
        best = min(rest, key=lambda f: (-len(parts[f]), -len(shared[f]), order.index(f)))
        alive, has = parts[best], shared[best]
        curve.append((len(alive), has))

    told, sofar = [], set[str]()
    for step in fleet["curve"]:
        sofar = sofar | set(step["added"])
        told.append((step["covered"]["machines"], sofar))
    assert len(curve) > 8
    assert told == curve
    for name, share in fleet["features"].items():
        assert share["machines"] == sum(name in each for each in safe), name
    for level in fleet["levels"]:
        reached = [r["assessment"]["level"] or "" for r in reports]
        assert level["covered"]["machines"] == sum(each >= level["name"] for each in reached)


def test_the_tables_count_the_same_in_plain_sql(capfdbinary, tmp_path, folder):
    """Each feature's coverage, asked of the tidy table without Ibis."""
    cpuprobe(capfdbinary, "fleet", "ingest", folder, "-o", tmp_path / "t")
    found = cpuprobe(capfdbinary, "fleet", tmp_path / "t", "--json").json

    rows = duckdb.sql(
        "select feature, count(distinct machine), sum(weight)::double "
        f"from '{tmp_path}/t/features.parquet' where safe group by 1"
    ).fetchall()
    assert {name: (count, weight) for name, count, weight in rows} == {
        name: (share["machines"], share["weight"])
        for name, share in found["features"].items()
        if share["machines"]
    }
    assert len(rows) > 20


# --- weights ---


def weigh(tmp_path, rows):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    (tmp_path / "weights.csv").write_text(text.getvalue())
    return tmp_path / "weights.csv"


def test_weights_by_name_and_by_model(capfdbinary, tmp_path, folder):
    """A heading is left out; names that fit nothing are told."""
    model = "GenuineIntel family 6 model 94"
    rows = [("name", "weight"), ("e-v4.json", 10), (model, "0.5"), ("zz.json", 3)]

    ran = cpuprobe(capfdbinary, "fleet", folder, "--json", "--weights", weigh(tmp_path, rows))

    assert ran.json["total"] == {"machines": 5, "weight": 12.0, "share": 1.0}
    assert ran.json["levels"][3]["covered"] == {"machines": 1, "weight": 10.0, "share": 10 / 12}
    assert ran.err == "cpuprobe: note: --weights: no capture is called 'zz.json'\n"


def test_weights_turn_the_curve(capfdbinary, tmp_path, folder):
    """What is lost is weight: the heavy old machine is given up last."""
    weights = weigh(tmp_path, [("a-old.json", 100)])

    found = cpuprobe(capfdbinary, "fleet", folder, "--json", "--weights", weights).json

    assert [each["wanted"] for each in found["targets"]] == [0.999, 0.99, 0.95]
    assert len(found["targets"][2]["best"]["flags"]) == 6  # of x86-64-v2
    assert [step["lost"]["weight"] for step in found["curve"]][1] == 100.0


def test_weights_in_lines_and_tables(capfdbinary, tmp_path):
    """In a wrapping object, in a report itself, in Parquet; exact to six places."""
    machine = report(observation(group(V3), listed=V3))
    in_report = machine[:-1] + b',"weight":2.25}'
    wrapped = msgspec.json.encode(
        {"capture": msgspec.Raw(machine), "weight": 0.1, "machine": "a", "more": [1]}
    )
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([in_report, wrapped, wrapped, wrapped]))
    pq.write_table(
        pa.table({"capture": [machine], "weight": pa.array([7], pa.int8())}), tmp_path / "b.parquet"
    )

    found = cpuprobe(
        capfdbinary, "fleet", tmp_path / "a.jsonl", tmp_path / "b.parquet", "--json"
    ).json

    assert found["total"] == {"machines": 5, "weight": 9.55, "share": 1.0}


@pytest.mark.parametrize("weight", ["0", "-1", "1e12", '"NaN"', '"x"', "[1]", "true", "1e-9"])
def test_bad_weights_in_lines_are_skipped(weight, capfdbinary, tmp_path):
    """One machine with a weight that is none does not stop the rest."""
    machine = report(observation(group(V3), listed=V3))
    bad = machine[:-1] + b',"weight":' + weight.encode() + b"}"
    (tmp_path / "a.jsonl").write_bytes(bad + b"\n" + machine + b"\n")

    ran = cpuprobe(capfdbinary, "fleet", tmp_path / "a.jsonl", "--json")

    assert ran.json["total"]["machines"] == 1
    assert ran.json["unread"] == 1
    assert ran.err.startswith("cpuprobe: skipped: a.jsonl:1: ")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "text", ["", "a,b\nc,d\n", "a;1\n", "a,1,2\n", "a,1\na,2\n", "a,0\n", ",1\n", '"a,1\n' * 2]
)
def test_bad_files_of_weights(text, capfdbinary, tmp_path, folder):
    """Exit code 4 and one line before anything is read."""
    (tmp_path / "w.csv").write_text(text)

    ran = cpuprobe(capfdbinary, "fleet", folder, "--weights", tmp_path / "w.csv")

    assert (ran.code, ran.out) == (4, b"")
    assert ran.err.count("\n") == 1


# --- what cannot be read ---


def test_one_bad_capture_does_not_stop_the_rest(capfdbinary, folder):
    """Counted, named in the document, and summed up by kind on standard error."""
    for number in range(8):
        (folder / f"z{number}.txt").write_text("nothing of a CPU")
    (folder / "zz.tgz").write_bytes(b"\x1f\x8b broken")

    ran = cpuprobe(capfdbinary, "fleet", folder, "--json")

    assert ran.json["total"]["machines"] == 5
    assert ran.json["unread"] == 9
    assert [each["capture"] for each in ran.json["skipped"]] == [
        *(f"z{n}.txt" for n in range(8)),
        "zz.tgz",
    ]
    assert {each["kind"] for each in ran.json["skipped"]} == {"text", "damaged"}
    several, one = ran.err.splitlines()
    assert several == (
        "cpuprobe: skipped: 8 captures, no capture of a known kind: z0.txt, z1.txt, z2.txt and 5 "
        "more"
    )
    assert one.startswith("cpuprobe: skipped: zz.tgz: damaged (gzip): ")


def test_strict_ends_at_the_first(capfdbinary, folder):
    """Exit code 4, its name, nothing on standard output."""
    (folder / "bb.txt").write_text("nothing")

    ran = cpuprobe(capfdbinary, "fleet", folder, "--strict", "--json")

    assert (ran.code, ran.out) == (4, b"")
    assert ran.err.startswith("cpuprobe: error: bb.txt: no capture")


def test_nothing_could_be_read(capfdbinary, tmp_path):
    """Exit code 4, and no tables."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.txt").write_text("nothing")
    (tmp_path / "x" / "b.txt").write_text("nothing")

    ran = cpuprobe(capfdbinary, "fleet", "ingest", tmp_path / "x", "-o", tmp_path / "t")

    assert ran.code == 4
    assert "none of 2 captures could be read; the first: a.txt: no capture" in ran.err
    assert sorted(os.listdir(tmp_path)) == ["x"]


def test_an_empty_folder(capfdbinary, tmp_path):
    """There is nothing to tell."""
    ran = cpuprobe(capfdbinary, "fleet", tmp_path)

    assert (ran.code, ran.err) == (4, "cpuprobe: error: no captures there\n")


def test_no_private_path_comes_through(capfdbinary, tmp_path):
    """Captures are called by what lies behind what the user named."""
    secret = tmp_path / "zzalice" / "reports"
    secret.parent.mkdir()
    write_folder(secret, {**five(), "bad.txt": b"nothing"})

    ran = cpuprobe(capfdbinary, "fleet", secret, "--json")
    cpuprobe(capfdbinary, "fleet", "ingest", secret, "-o", tmp_path / "t")

    assert b"zzalice" not in ran.out
    assert all(b"zzalice" not in each.read_bytes() for each in (tmp_path / "t").iterdir())
    assert pq.read_table(tmp_path / "t" / "machines.parquet")["label"][0].as_py() == "a-old.json"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--flags", "has_nothing"], 2, "has no such flag"),
        (["--flags", ","], 2, "name at least one"),
        (["--profile", "nothing"], 2, "no profile nothing"),
        (["--profile", "no-avx512"], 2, "only forbids"),
        (["--coverage", "0"], 2, "percentages"),
        (["--coverage", "101"], 2, "percentages"),
        (["--coverage", "many"], 2, "percentages"),
        (["--coverage", "NaN"], 2, "percentages"),
        (["--backend", "nothing"], 2, "duckdb, pyspark or a URL"),
        (["--backend", "nothing://x"], 2, "--backend"),
        (["--backend", "sqlite://"], 3, "reads no Parquet"),
        (["--wasmtime", "1"], 2, "not in the table"),
        (["--weights", "/nothing"], 4, "No such file"),
        (["--json", "--html", "-"], 2, "only one of them"),
        (["-o", "x"], 2, "belongs to fleet ingest"),
        (["/nothing/there"], 4, "No such file"),
        (["--top", "0"], 2, ""),
    ],
)
def test_bad_requests_get_one_line(arguments, code, words, capfdbinary, folder):
    """The exit codes of the contract, nothing on standard output."""
    ran = cpuprobe(capfdbinary, "fleet", folder, *arguments)

    assert (ran.code, ran.out) == (code, b"")
    assert words in ran.err
    assert ran.err.count("\n") == 1


# --- tables ---


def test_ingest_tells_what_it_made(capfdbinary, tmp_path, folder):
    """A sentence, or one JSON document."""
    text = cpuprobe(
        capfdbinary, "fleet", "ingest", folder, "-o", tmp_path / "t", "--wasmtime", "48"
    )
    ran = cpuprobe(capfdbinary, "fleet", "ingest", folder, "-o", tmp_path / "t", "--json")

    assert text.out == b"5 machines, 0 captures not read, flags of wasmtime 48\n"
    assert (ran.code, ran.json["machines"], ran.json["unread"]) == (0, 5, 0)
    assert sorted(os.listdir(tmp_path / "t")) == [
        "cpuprobe-fleet.json",
        "features.parquet",
        "findings.parquet",
        "machines.parquet",
    ]
    assert [each for each in os.listdir(tmp_path) if each.startswith(".")] == []


def test_the_tables_are_as_documented(capfdbinary, tmp_path, folder):
    """Column names; one row a machine and feature."""
    cpuprobe(capfdbinary, "fleet", "ingest", folder, "-o", tmp_path / "t")
    read = {each.stem: pq.read_table(each) for each in (tmp_path / "t").glob("*.parquet")}

    assert read["features"].column_names == ["machine", "feature", "state", "safe", "weight"]
    assert read["features"].num_rows == 5 * len(load_features())
    rows = read["features"].to_pylist()
    off = {row["feature"]: row for row in rows if row["machine"] == 1}
    assert (off["avx"]["state"], off["avx"]["safe"]) == ("withheld", False)
    assert (off["sse4.2"]["state"], off["sse4.2"]["safe"]) == ("usable", True)
    assert read["machines"]["verdict"].to_pylist() == [
        "consistent",
        "mismatch",
        *["consistent"] * 3,
    ]
    assert read["findings"].column_names == [
        "machine", "code", "severity", "cause", "title", "weight"
    ]  # fmt: skip


@pytest.mark.parametrize("made", ["file", "folder", "more"])
def test_what_ingest_did_not_make_is_not_replaced(made, capfdbinary, tmp_path, folder):
    """A file, a folder of something else, its own folder with something else in it."""
    place = tmp_path / "t"
    if made == "file":
        place.write_text("mine")
    else:
        if made == "more":
            cpuprobe(capfdbinary, "fleet", "ingest", folder, "-o", place)
        place.mkdir(exist_ok=True)
        (place / "mine.txt").write_text("mine")

    ran = cpuprobe(capfdbinary, "fleet", "ingest", folder, "-o", place)

    assert ran.code == 2
    assert "was not made by fleet ingest" in ran.err
    assert (place if made == "file" else place / "mine.txt").read_text() == "mine"


def test_an_empty_folder_may_be_filled(capfdbinary, tmp_path, folder):
    """`mktemp -d` makes such."""
    (tmp_path / "t").mkdir()

    assert cpuprobe(capfdbinary, "fleet", "ingest", folder, "-o", tmp_path / "t").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ingest"], "say what to read"),
        (["ingest", "x"], "say what to read"),
        (["ingest", "{tables}", "-o", "{new}"], "holds tables already"),
        (["ingest", "{folder}", "-o", "{new}", "--top", "3"], "fleet ingest takes"),
        (["{tables}", "--wasmtime", "48"], "ingest it again"),
        (["{tables}", "--weights", "{weights}"], "give them to ingest"),
    ],
)
def test_bad_requests_about_tables(arguments, words, capfdbinary, tmp_path, folder):
    """Exit code 2 and what to do."""
    places = {
        "tables": tmp_path / "tables",
        "new": tmp_path / "new",
        "folder": folder,
        "weights": weigh(tmp_path, [("a", 1)]),
    }
    cpuprobe(capfdbinary, "fleet", "ingest", folder, "-o", places["tables"])

    ran = cpuprobe(capfdbinary, "fleet", *(each.format(**places) for each in arguments))

    assert (ran.code, ran.out) == (2, b"")
    assert words in ran.err


@pytest.mark.parametrize("damage", ["manifest", "schema", "cut", "columns", "missing", "flags"])
def test_damaged_tables(damage, capfdbinary, tmp_path, folder):
    """Exit code 4 and one line, before a backend sees them."""
    place = tmp_path / "t"
    cpuprobe(capfdbinary, "fleet", "ingest", folder, "-o", place)
    manifest, features = place / "cpuprobe-fleet.json", place / "features.parquet"
    if damage == "manifest":
        manifest.write_text("[" * 100_000)
    elif damage == "schema":
        manifest.write_text(manifest.read_text().replace("tables/1", "tables/2"))
    elif damage == "flags":
        known = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({**known, "flags": [f"f{n}" for n in range(63)]}))
    elif damage == "cut":
        features.write_bytes(features.read_bytes()[:-20])
    elif damage == "columns":
        pq.write_table(pa.table({"machine": [1]}), features)
    else:
        features.unlink()

    ran = cpuprobe(capfdbinary, "fleet", place, "--json")

    assert (ran.code, ran.out) == (4, b"")
    assert ran.err.startswith("cpuprobe: error: t")
    assert ran.err.count("\n") == 1


# --- choices ---


def test_executed_only_leaves_the_others_out(capfdbinary, tmp_path):
    """A capture without execution says less; the share is told either way."""
    files = {
        "a.json": report(observation(group(V3), listed=V3)),
        "b.json": report(observation(group(V2, executed=False), listed=V2)),
    }
    folder = write_folder(tmp_path / "x", files)

    every = cpuprobe(capfdbinary, "fleet", folder, "--json").json
    ran = cpuprobe(capfdbinary, "fleet", folder, "--json", "--executed-only").json
    (folder / "a.json").unlink()
    none = cpuprobe(capfdbinary, "fleet", folder, "--executed-only")

    assert every["executed"] == {"machines": 1, "weight": 1.0, "share": 0.5}
    assert covered(every["levels"])["x86-64-v3"] == 1
    assert (every["total"]["machines"], ran["total"]["machines"]) == (2, 1)
    assert covered(ran["levels"])["x86-64-v3"] == 1
    assert [step["covered"]["machines"] for step in ran["curve"]] == [1]
    assert none.code == 4
    assert "no machine is left" in none.err


def test_profiles_are_counted(capfdbinary, folder):
    """Those of distributions unasked, one of the user's on request; what needs 64-bit mode."""
    found = cpuprobe(capfdbinary, "fleet", folder, "--json").json
    (folder.parent / "mine.toml").write_text(
        '[[profile]]\nname = "mine"\npurpose = "x"\nfeatures = ["avx", "aes"]\n'
    )
    asked = cpuprobe(
        capfdbinary, "fleet", folder, "--json", "--profile", folder.parent / "mine.toml"
    ).json

    assert covered(found["profiles"])["debian-13"] == 5
    assert covered(asked["profiles"])["mine"] == 0
    assert "no-avx512" not in covered(found["profiles"])


def test_others_make_the_groups_whole(capfdbinary, folder):
    """With --top 1 all but the first are one group, and its numbers add up."""
    found = cpuprobe(capfdbinary, "fleet", folder, "--json", "--top", "1").json

    assert [(each["value"], each["machines"]["machines"]) for each in found["kernels"]] == [
        ("6.12.48", 3),
        ("others", 2),
    ]
    assert found["kernels"][1]["mismatched"]["machines"] == 1
    assert found["kernels"][1]["levels"]["x86-64-v3"] == 0.5
    assert sum(found["matrix"]["weights"]) == 1.0


def test_the_matrix(capfdbinary, folder):
    """Shares of a model's machines with each flag safe."""
    matrix = cpuprobe(capfdbinary, "fleet", folder, "--json").json["matrix"]

    assert matrix["rows"] == ["GenuineIntel family 6 model 94"]
    (shares,) = matrix["shares"]
    assert dict(zip(matrix["columns"], shares, strict=True))["has_avx2"] == 0.6


def test_a_page_and_a_table(capfdbinary, tmp_path, folder):
    """--html writes a whole file beside the text."""
    ran = cpuprobe(capfdbinary, "fleet", folder, "--html", tmp_path / "page.html")
    page = cpuprobe(capfdbinary, "fleet", folder, "--html", "-")

    assert ran.code == page.code == 1
    assert b"x86-64-v3" in ran.out
    assert max(len(line) for line in ran.out.decode().splitlines()) <= 100
    assert (tmp_path / "page.html").read_bytes() == page.out
    assert page.out.lower().startswith(b"<!doctype html>")


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("pyarrow.parquet", ["ingest", "{folder}", "-o", "{new}"]),
        ("duckdb", ["{tables}"]),
        ("ibis", ["{tables}", "--backend", "duckdb://"]),
    ],
)
def test_a_missing_library_is_one_line(
    module, arguments, capfdbinary, monkeypatch, tmp_path, folder
):
    """It names what to install; without tables none is needed."""
    places = {"folder": folder, "tables": tmp_path / "t", "new": tmp_path / "new"}
    cpuprobe(capfdbinary, "fleet", "ingest", folder, "-o", places["tables"])
    monkeypatch.setitem(sys.modules, module, None)

    ran = cpuprobe(capfdbinary, "fleet", *(each.format(**places) for each in arguments))
    counted = cpuprobe(capfdbinary, "fleet", folder)

    assert (ran.code, counted.code) == (3, 1)
    assert "pip install 'cpuprobe[fleet]'" in ran.err
    assert ran.err.count("\n") == 1


def test_spark_without_java_is_one_line(capfdbinary, monkeypatch, folder):
    """It names what to install."""
    pytest.importorskip("pyspark")
    monkeypatch.setenv("JAVA_HOME", "/nothing")

    ran = cpuprobe(capfdbinary, "fleet", folder, "--backend", "pyspark")

    assert (ran.code, ran.out) == (3, b"")
    assert "needs Java 17 or later" in ran.err
    assert ran.err.count("\n") == 1


def test_the_fast_path_knows_nothing_of_it():
    """The heavy libraries are imported by `fleet` alone, and not by its --help."""
    program = (
        "import sys; from cpuprobe.cli import run; run(['fleet', '--help']); "
        "heavy = {'ibis', 'duckdb', 'pyarrow', 'pyspark', 'rich.table'} & set(sys.modules); "
        "sys.exit(f'{heavy}' if heavy else 0)"
    )

    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


# --- machines that are not counted ---


PART = "model name\t: AMD EPYC\nflags\t\t: fpu vme de pse tsc msr sse sse2 ssse3 avx2\n"
ARM = "Architecture: aarch64\nVendor ID: ARM\nModel name: Cortex-A72\nFlags: fp asimd evtstrm\n"


def test_what_is_not_known_is_no_share(capfdbinary, tmp_path):
    """A list that is cut: counted and named, the same from tables, where other machines are too."""
    files = {**five(), "part.txt": PART.encode(), "arm.txt": ARM.encode(), "x.txt": b"nothing"}
    folder = write_folder(tmp_path / "x", files)

    ran = cpuprobe(capfdbinary, "fleet", folder, "--json")
    text = cpuprobe(capfdbinary, "fleet", folder)
    cpuprobe(capfdbinary, "fleet", "ingest", folder, "-o", tmp_path / "t")
    tables = cpuprobe(capfdbinary, "fleet", tmp_path / "t", "--json")

    assert ran.json["total"]["machines"] == 5
    assert covered(ran.json["levels"]) == FIVE_LEVELS
    told = {name: value for name, value in ran.json.items() if name != "isas"}
    assert told["unknown"] == [
        {"kind": "insufficient", "what": "proc-cpuinfo", "machines": 1, "mismatched": 0}
    ]
    assert (ran.json["unread"], ran.json["unread_kinds"]) == (1, {"text": 1})
    assert sum(each["machines"]["machines"] for each in ran.json["models"]) == 5
    assert b"Not counted: 1 machine: too little is known of 1 (proc-cpuinfo 1)." in text.out
    told["unknown"].append({"kind": "isa", "what": "aarch64", "machines": 1, "mismatched": 0})
    assert tables.json == told
    assert (
        b"Not counted: 2 machines: too little is known of 1 (proc-cpuinfo 1); 1 of another "
        b"instruction set (aarch64 1)."
    ) in b" ".join(cpuprobe(capfdbinary, "fleet", tmp_path / "t").out.split())


def test_nothing_is_known(capfdbinary, tmp_path):
    """No share of nobody: exit code 4, and what there was."""
    folder = write_folder(tmp_path / "x", {"part.txt": PART.encode(), "arm.txt": ARM.encode()})

    cpuprobe(capfdbinary, "fleet", "ingest", folder, "-o", tmp_path / "t")

    ran = cpuprobe(capfdbinary, "fleet", tmp_path / "t")

    assert (ran.code, ran.out) == (4, b"")
    assert "too little is known of all 2 machines to count them (aarch64, proc-cpuinfo)" in ran.err
