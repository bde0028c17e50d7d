"""What the installed wasmtime is and has, in children that may die, and how it is shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from tests.fakes import V3, XCR0_AVX, gds_machine, group, observation
from tests.tools.measure_wasmtime import CHILD, Row, render

from cpuprobe.assessment import assess
from cpuprobe.cli import report as report_command
from cpuprobe.evidence.installed import installed_version
from cpuprobe.evidence.witnesses import ExternalWitnesses
from cpuprobe.facts.tables import load_table
from cpuprobe.facts.wasmtime import known_versions, lookup, nearest
from cpuprobe.report.document import make_report, to_json
from cpuprobe.report.html import render_html
from cpuprobe.report.installed import inference_lines, introspection_lines
from cpuprobe.report.markdown import render_markdown
from cpuprobe.report.proof import document, to_text
from cpuprobe.report.subject import make_subject
from cpuprobe.wasm import children, introspect
from cpuprobe.wasm.installed import Inference, Introspection

CPUPROBE = (sys.executable, "-m", "cpuprobe")
NOT_THERE = "wasmtime is not installed for this Python: pip install wasmtime"
ALL = {"has_sse3": True, "has_avx": True, "has_avx512f": False}
GOOD = Introspection("50.0.1", tuple(ALL), ALL, pulley=True, winch=True)


def fake_wasmtime(folder: Path, program: str) -> dict[str, str]:
    """An environment in which the package is this program."""
    (folder / "wasmtime").mkdir()
    (folder / "wasmtime" / "__init__.py").write_text(program)
    (folder / "wasmtime-50.9.9.dist-info").mkdir()
    return {**os.environ, "PYTHONPATH": str(folder)}


# Does something else than the installed package, but where it is asked which flags it infers.
OTHERWISE = """
import os, signal, sys
if sys.argv[1:] != ["inferred"]:
    {program}
    sys.stdout.flush()
    os._exit(0)
import importlib.util
found = importlib.util.spec_from_file_location("wasmtime", {real!r})
sys.modules["wasmtime"] = importlib.util.module_from_spec(found)
found.loader.exec_module(sys.modules["wasmtime"])
"""


# --- asking --------------------------------------------------------------------------------------


def test_the_installed_one_answers():
    """Its version, the flags of the table, Pulley and Winch as its release has them."""
    pytest.importorskip("wasmtime")
    found = introspect.introspect()
    version = installed_version()

    assert version is not None
    assert found.version == version
    assert found.known == lookup(version).flags
    assert found.inferred is not None
    assert tuple(found.inferred) == found.known
    if int(version.partition(".")[0]) >= 50:
        assert (found.pulley, found.winch, found.reasons) == (True, True, {})


def test_a_word_that_the_c_api_has_not_is_an_answer(monkeypatch):
    """Winch is looked up by name: a number that C does not know would be anything."""
    wasmtime = pytest.importorskip("wasmtime")
    from cpuprobe.wasm.configure import MissingOptionError, set_winch

    monkeypatch.setattr(wasmtime._bindings, "wasmtime_strategy_enum", ())
    with pytest.raises(MissingOptionError, match="no strategy Winch"):
        set_winch(wasmtime.Config())


@pytest.mark.parametrize(
    ("program", "pulley", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGILL)", False, "killed by SIGILL"),
        ("os.abort()", False, "killed by SIGABRT"),
        ("raise SystemExit('no such thing')", False, "no such thing"),
        ("print('Unrecognized architecture')", False, "Unrecognized architecture"),
        ("print('a\\x1b[2Jb')", False, "a\ufffd[2Jb"),
        ("pass", False, "it said nothing"),
        ("sys.stdout.buffer.write(b'\\xff' * 100000)", False, "..."),
        ("import time; time.sleep(3600)", None, "did not answer within 1 s"),
    ],
    ids=["sigill", "abort", "fails", "refuses", "steers", "silent", "floods", "hangs"],
)
def test_whatever_a_child_does_is_a_reason(monkeypatch, tmp_path, program, pulley, reason):
    """No exception, no control characters, no waiting; the other answers stand."""
    real = pytest.importorskip("wasmtime").__file__
    fake_wasmtime(tmp_path, OTHERWISE.format(program=program, real=real))
    monkeypatch.syspath_prepend(str(tmp_path))
    found = introspect.introspect(timeout=1.0 if pulley is None else 60.0)

    assert (found.pulley, found.winch) == (pulley, pulley)
    assert reason in found.reasons["pulley"]
    assert found.reasons["pulley"].isprintable()
    assert len(found.reasons["pulley"]) <= 200
    if pulley is False:
        assert found.inferred is not None
        assert "inferred" not in found.reasons


def test_without_wasmtime_nothing_is_known(monkeypatch):
    monkeypatch.setattr(children, "package_folder", lambda: None)
    monkeypatch.setattr(introspect, "installed_version", lambda: None)
    found = introspect.introspect()

    assert found == Introspection(
        None, reasons={"inferred": NOT_THERE, "pulley": NOT_THERE, "winch": NOT_THERE}
    )
    assert list(introspection_lines(found)) == [f"wasmtime gave no answer: {NOT_THERE}"]


@pytest.mark.parametrize(("version", "known"), [("49.0.0", lookup("49").flags), ("999.0", None)])
def test_known_flags_come_from_the_table_where_wasmtime_dies(monkeypatch, tmp_path, version, known):
    """The names are the release's, whatever it does here."""
    (tmp_path / "wasmtime").mkdir()
    (tmp_path / "wasmtime" / "__init__.py").write_text("import os; os.kill(os.getpid(), 4)")
    (tmp_path / f"wasmtime-{version}.dist-info").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    found = introspect.introspect()

    assert (found.version, found.known, found.inferred) == (version, known, None)
    assert found.pulley is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("OSError: /home/ann/x y/lib.so: too short", "OSError: x y/lib.so: too short"),
        ("cannot start /opt/python: gone", "cannot start python: gone"),
        ("File '/a/b.py', x86/64 and 1/2, http://c/d", "File 'b.py', x86/64 and 1/2, http://c/d"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_reasons_name_files_without_their_folders(text, expected):
    assert introspect.without_folders(text) == expected


def test_a_folder_with_a_blank_is_left_out_too(monkeypatch):
    """Wherever wasmtime lies."""
    monkeypatch.setattr(introspect, "package_folder", lambda: "/home/ann lee/site")
    monkeypatch.setenv("HOME", "/home/ann lee")

    assert introspect.without_folders("/home/ann lee/site/w.so: no") == "w.so: no"
    assert introspect.without_folders("/home/ann lee/other/w.so: no") == "w.so: no"


def test_an_unknown_release_refuses_what_the_newest_does():
    newest = next(iter(known_versions().values()))

    assert nearest("999.0.0").refuses == newest.refuses == ("has_apx",)
    assert nearest("49.0.0").refuses == ()


# --- the words -----------------------------------------------------------------------------------


def test_a_good_answer_in_words():
    assert list(introspection_lines(GOOD)) == [
        "wasmtime 50.0.1 knows 3 x86 flags and infers 2 of them here: has_sse3 has_avx",
        "Pulley, its interpreter: works",
        "Winch, its baseline compiler: works",
    ]


def test_partial_answers_in_words():
    """Each with its own reason; what cannot be told is not called missing."""
    asked = Introspection(
        "36.0.0",
        pulley=False,
        winch=None,
        reasons={"inferred": "it died", "pulley": "wrong host", "winch": "it hung"},
    )

    assert list(introspection_lines(asked)) == [
        "wasmtime 36.0.0 did not say which flags it infers: it died",
        "Pulley, its interpreter: not available (wrong host)",
        "Winch, its baseline compiler: not known (it hung)",
    ]


def test_one_question_that_fails_is_not_all():
    asked = Introspection("50", pulley=True, winch=True, reasons={"inferred": "it died"})

    assert list(introspection_lines(asked)) == [
        "wasmtime 50 did not say which flags it infers: it died",
        "Pulley, its interpreter: works",
        "Winch, its baseline compiler: works",
    ]


def test_a_difference_is_shown_with_wasmtimes_answer():
    found = Inference(ALL, unsafe=("has_avx",), differ=("has_avx", "has_avx512f"))
    unsafe, differ = inference_lines(found)

    assert unsafe == "left to itself wasmtime would turn on (CP501): has_avx"
    assert differ.endswith(": has_avx (on) has_avx512f (off) (please report it)")
    agreed = list(inference_lines(Inference(ALL, (), ())))
    assert agreed[0].endswith("nothing that is unsafe here")
    assert "says the same of every flag" in agreed[1]


def verification(**more: object) -> dict[str, object]:
    plain = {
        "wasmtime": "50.0.1",
        "flags": {"has_avx": True},
        "functions": 0,
        "left_out": [],
        "code": None,
        "comparison": None,
        "not_compared": None,
        "death": None,
    }
    introspection = msgspec.to_builtins(GOOD)
    compared = msgspec.to_builtins(Inference(ALL, (), ("has_avx",)))
    return document(plain, "proved", compared, 1.0, introspection)


def test_verify_shows_both():
    """In the document whole, in the text in words."""
    made = verification()
    text = to_text(made)

    assert json.loads(msgspec.json.encode(made["introspection"])) == {
        "version": "50.0.1",
        "known": list(ALL),
        "inferred": ALL,
        "pulley": True,
        "winch": True,
        "reasons": {},
    }
    for line in (*introspection_lines(GOOD), "has_avx (on) (please report it)"):
        assert line in " ".join(text.split())
    assert all(len(line) <= 100 for line in text.splitlines())


# --- the report ----------------------------------------------------------------------------------

HOSTILE = "</li><script>x</script> `tick` @octocat https://evil.example | **b** \x1b[2J"


def surrounded(asked: Introspection, compared: Inference | None) -> Sequence[str]:
    """Markdown and HTML of a machine with these answers."""
    machine = gds_machine()
    made = make_subject("here", machine, assess(machine), ExternalWitnesses(), asked, compared)
    return render_markdown([made]), render_html([made])


def test_the_report_shows_the_answers_and_a_difference():
    for text in surrounded(GOOD, Inference(ALL, ("has_avx",), ("has_avx",))):
        assert "The installed wasmtime, asked itself" in text
        assert "Pulley, its interpreter: works" in text
        assert "model of that choice is wrong about" in text
        assert "left to itself wasmtime would turn on" in text


def test_no_answer_is_one_line_of_the_report():
    asked = Introspection("50.0.1", reasons=dict.fromkeys(("inferred", "pulley", "winch"), "why"))
    for text in surrounded(asked, None):
        assert text.count("wasmtime 50.0.1 gave no answer: why") == 1
        assert "Pulley, its interpreter" not in text


def test_a_strangers_reason_is_only_text():
    """Neither markup nor links nor mentions nor control characters."""
    asked = Introspection("50", inferred=ALL, pulley=False, reasons={"pulley": HOSTILE})
    markdown, page = surrounded(asked, None)
    shown = markdown.partition("<details>")[0]

    for part in ("<script>", "@octocat", "https://evil", "\x1b", "**b**"):
        assert part not in shown
    assert "<script>" not in page
    assert "\x1b" not in page


def test_only_the_report_of_this_machine_has_the_keys():
    """A reader drops them: they are wasmtime's words, not the observation's."""
    machine = observation(group(V3, xcr0=XCR0_AVX), listed=V3)
    plain = make_report(machine, assess(machine))
    here = make_report(machine, assess(machine), GOOD, Inference(ALL, (), ()))

    assert list(json.loads(to_json(plain))) == ["schema", "cpuprobe", "observation", "assessment"]
    assert list(json.loads(to_json(here)))[4:] == ["introspection", "inference"]


def cpuprobe(*arguments: str, env: dict[str, str], stdin: bytes = b""):
    return subprocess.run(
        [*CPUPROBE, *arguments], input=stdin, capture_output=True, timeout=120, env=env
    )


def inspected(content: bytes) -> dict[str, object]:
    result = cpuprobe("inspect", "--json", "-", env=dict(os.environ), stdin=content)
    assert result.returncode in (0, 1), result.stderr
    made: dict[str, object] = json.loads(result.stdout)
    return made


def test_the_json_report_of_this_machine_and_its_round_trip():
    """`inspect` gives back every key that it knows, value by value."""
    pytest.importorskip("wasmtime")
    made = json.loads(cpuprobe("report", "--format", "json", env=dict(os.environ)).stdout)
    again = inspected(json.dumps(made).encode())

    assert made["introspection"]["version"] == installed_version()
    assert made["inference"]["inferred"] == made["introspection"]["inferred"]
    assert made["inference"]["differ"] == []
    assert made["observation"]["wasmtime"]["flags"] == made["introspection"]["known"]
    assert again == {key: made[key] for key in ("schema", "cpuprobe", "observation", "assessment")}


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "killed by SIGILL"),
        ("import os; os._exit(5)", "exit code 5"),
        ("raise ImportError('no ' + __path__[0] + '/x.so')", "ImportError: no x.so"),
    ],
    ids=["dies", "exits", "raises"],
)
@pytest.mark.parametrize("form", ["markdown", "json", "html"])
def test_a_wasmtime_that_dies_is_one_line(tmp_path, program, words, form):
    """The report is made all the same, and `inspect` reads it."""
    env = fake_wasmtime(tmp_path, program)
    result = cpuprobe("report", "--format", form, env=env)
    text = result.stdout.decode()

    assert result.returncode in (0, 1)
    assert result.stderr == b""
    assert str(tmp_path) not in text
    if form == "json":
        made = json.loads(text)
        assert words in made["introspection"]["reasons"]["inferred"]
        assert made["introspection"]["inferred"] is None
        assert "inference" not in made
    else:
        shown = [line for line in text.splitlines() if "gave no answer" in line]
        assert len([line for line in shown if words in line and "50.9.9" in line]) == 1
    assert inspected(result.stdout)["assessment"]["wasmtime"]["version"] == "50.9.9"  # type: ignore[index]


def test_a_wasmtime_that_hangs_is_one_line(monkeypatch, tmp_path, capfdbinary):
    """Within the report's patience."""
    from cpuprobe.cli import run

    fake_wasmtime(tmp_path, "import time; time.sleep(3600)")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(report_command, "_PATIENCE", 1.0)
    code = run(["report", "--format", "json"])
    made = json.loads(capfdbinary.readouterr().out)

    assert code in (0, 1)
    assert made["introspection"]["pulley"] is None
    assert made["introspection"]["reasons"]["winch"] == "wasmtime did not answer within 1 s"


def test_a_wasmtime_that_is_absent_is_one_line(monkeypatch, capfdbinary):
    from cpuprobe.cli import run
    from cpuprobe.evidence import measure

    monkeypatch.setattr(measure, "installed_version", lambda: None)
    monkeypatch.setattr(introspect, "installed_version", lambda: None)
    monkeypatch.setattr(children, "package_folder", lambda: None)
    code = run(["report"])
    text = capfdbinary.readouterr().out.decode()

    assert code in (0, 1)
    assert text.count("- wasmtime gave no answer: wasmtime is not installed") == 1
    assert "Pulley, its interpreter" not in text


def test_a_wasmtime_that_differs_from_its_model_is_shown(monkeypatch, capfdbinary):
    """Every flag turned round: each is named, with what wasmtime said."""
    pytest.importorskip("wasmtime")
    from cpuprobe.cli import run

    real = introspect.introspect()
    assert real.inferred is not None
    turned = {flag: not value for flag, value in real.inferred.items()}
    changed = msgspec.structs.replace(real, inferred=turned)
    monkeypatch.setattr(introspect, "introspect", lambda timeout: changed)
    run(["report"])
    text = capfdbinary.readouterr().out.decode()
    (line,) = (each for each in text.splitlines() if "(please report it)" in each)

    for flag, value in turned.items():
        assert f"`{flag}` {'(on)' if value else '(off)'}" in line
    (unsafe,) = (each for each in text.splitlines() if "wasmtime would turn on (CP501)" in each)
    assert "has_apx" in unsafe or "has_apx" not in turned


# --- the table -----------------------------------------------------------------------------------


def test_the_table_is_what_the_installed_wasmtime_says():
    """Its child asks it: flags in its order, and those that its detector cannot judge."""
    wasmtime = pytest.importorskip("wasmtime")
    folder = str(Path(wasmtime.__file__).parents[1])
    row = lookup(installed_version() or "")

    done = subprocess.run(
        [sys.executable, "-c", CHILD, folder, str(Path(introspect.__file__).parents[2])],
        capture_output=True,
        check=True,
    )
    flags, refuses = json.loads(done.stdout)

    assert tuple(flag for flag in flags if flag.startswith("has_")) == row.flags
    assert tuple(refuses) == row.refuses


def test_what_was_not_measured_is_not_in_the_table():
    assert "refuses" not in render(Row(12, "12.0.0", ("has_avx",), None), "x86-64")
    assert "refuses = []" in render(Row(13, "13.0.2", ("has_avx",), ()), "x86-64")
    for table in ("wasmtime", "wasmtime-aarch64"):
        for row in load_table(table)["version"]:
            assert ("refuses" in row) is (row["major"] >= 13), row["major"]
