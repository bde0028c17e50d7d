"""Every command line that README and docs/ show: it runs, or at least its every word is known."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from tests.every import every

from cpuprobe import cli
from cpuprobe.cli.app import app
from cpuprobe.evidence.measure import native_executable

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])

# What a test cannot run, or not with this output, and what runs it instead.
ELSEWHERE = {
    "fleet nodes/": "machines of both instruction sets: tests/unit/fleet/test_fleet_isas.py",
    "fleet dumps/": "InstLatx64's dumps are not in the tree: tests/unit/fleet",
    "run esbuild.wasm": "a module of 10 MB: tests/unit/wasm/test_imports.py",
    "verify --module sql-wasm.wasm --profile x86-64-v2": "a module of 700 KB: tests/unit/wasm",
    "verify": "half a minute: tests/unit/wasm/test_verify.py",
    "verify --json": "likewise",
    "profile lint --prove": "starts wasmtime a hundred times: tests/unit/wasm/test_presets.py",
    "fleet tables --backend pyspark": "needs Java: tests/fleet/test_backends.py",
    "fleet tables --backend spark://HOST:7077": "needs a cluster: likewise",
    "fleet tables": "likewise",
    "inspect --together A B": "parts of one machine: tests/unit/evidence/test_machines_join.py",
    "bench": "seconds: tests/unit/wasm/test_bench.py",
    "bench MODULE": "likewise",
    "bench MODULE --invoke F [ARGS]": "likewise",
}
# Sessions on files of a page's own: `workshop` makes them. Numbers, addresses and where lines are
# broken are the compiler's; wasmtime's own inference is this machine's.
VARIES = (
    (r"with the flags that wasmtime infers on this machine .*?(?= avx: )", ""),
    (r"wasmtime [\d.]+", "wasmtime #"),
    (r"\b0x[0-9a-f]+\b", "#"),
    (r"(?<![\w-])\d[\d,.]*(?![\w-])", "#"),
)
# The answer is this machine's: of what is shown only the words at the left hold everywhere.
HERE = {""}


class Session(NamedTuple):
    """A command that is shown with its output."""

    page: str
    words: str
    output: list[str]


def code(page: Path) -> Iterator[list[str]]:
    """The fenced and the indented blocks of a page, line by line."""
    text = page.read_text()
    for match in re.finditer(r"(?ms)^```\w*\n(.*?)^```$", text):
        yield match[1].splitlines()
    rest = re.sub(r"(?ms)^```\w*\n.*?^```$", "", text)
    for match in re.finditer(r"(?m)(?:^    .*\n)+", rest):
        yield [line[4:] for line in match[0].splitlines()]


def sessions() -> Iterator[Session]:
    """Every `$ cpuprobe ...` with what stands below it."""
    for page in PAGES:
        for lines in code(page):
            starts = [at for at, line in enumerate(lines) if re.match(r"\$ cpuprobe(?: |$)", line)]
            for start, end in pairwise([*starts, len(lines)]):
                output = [line.rstrip() for line in lines[start + 1 : end]]
                words = lines[start].removeprefix("$ cpuprobe").strip()
                yield Session(page.name, words, output)


def absent(session: Session) -> set[str]:
    """Files that a session names and the tree has not: a page's own, made on the way."""
    words = [each for each in shlex.split(session.words)[1:] if not each.startswith("-")]
    named = {each for each in words if re.search(r"[/.]|^(?:build|dist|before)$", each)}
    return {each for each in named if not (ROOT / each).is_file() and not re.match(r"x86-", each)}


SUM = """double sum(const double *values, int count)
{
    double total = 0;
    for (int i = 0; i < count; i++)
        total += values[i];
    return total;
}
"""
MAIN = """double sum(const double *values, int count);
static volatile double values[64];
int main(void) { return (int)sum((const double *)values, 64); }
"""
MODULE = """(module
  (func $trailing (export "trailing") (param i32) (result i32) (i32.ctz (local.get 0)))
  (func $scale (export "scale") (param f64) (result f64) (f64.mul (local.get 0) (f64.const 3))))
"""
LINT = """[[profile]]
name = "fleet-old"
purpose = "the machines that were there first"
extends = ["x86-64-v3"]
features = ["aes", "sha"]

[[profile]]
name = "fleet-new"
purpose = "the machines that came"
extends = ["x86-64-v3"]
features = ["avx512vl"]
"""


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands of the pages name: releases, captures, a module, profiles."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to build the pages' releases with")
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "sum.c").write_text(SUM)
    (folder / "main.c").write_text(MAIN)
    for name, march in (("before", "x86-64"), ("build", "x86-64-v3")):
        (folder / name).mkdir()
        options = ["gcc", "-O3", f"-march={march}"]
        made = (["main.c", "sum.c", "-o", f"{name}/app"],
                ["-shared", "-fPIC", "sum.c", "-o", f"{name}/libsum.so"])  # fmt: skip
        for rest in made:
            subprocess.run([*options, *rest], cwd=folder, check=True)
    for name, of in (("dist", "build"), ("last-release", "before")):
        (folder / name).mkdir()
        shutil.copy2(folder / of / "app", folder / name)
    (folder / "app.wat").write_text(MODULE)
    (folder / "fleet.toml").write_text(LINT)
    (folder / "docs").symlink_to(ROOT / "docs")
    (folder / "tests").symlink_to(ROOT / "tests")
    (folder / "crash.log").write_text("traps: app[7] trap invalid opcode ip:401000 sp:7ffc error:0")
    (folder / "core").symlink_to(ROOT / "docs" / "examples" / "app.core")
    for name in ("host1.json", "host2.json", "node-7.json"):
        (folder / name).symlink_to(ROOT / "docs" / "examples" / "gds.json")
    for name in ("reports", "reports-2026"):
        (folder / name).symlink_to(ROOT / "tests" / "data" / "reports")
    (folder / "cpu-allow.toml").write_text("")
    export = [sys.executable, "-m", "cpuprobe", "fleet", "reports", "--export", "ours.tsv"]
    subprocess.run(export, cwd=folder, stdout=subprocess.DEVNULL)  # 1: some are mismatches
    assert (folder / "ours.tsv").exists()
    return folder


@pytest.fixture
def there(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a workshop of its own."""
    folder = tmp_path / "workshop"
    shutil.copytree(workshop, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


SESSIONS = [each for each in sessions() if each.output and "   " not in each.words]


@pytest.mark.parametrize(
    "session",
    [each for each in SESSIONS if each.words not in ELSEWHERE and not absent(each)],
    ids=lambda each: f"{each.page}: {each.words}"[:80],
)
def test_a_session_runs_as_it_is_shown(session, capfd, monkeypatch):
    """The lines that are shown are printed, in their order; `...` stands for others."""
    monkeypatch.chdir(ROOT)
    assert run(shlex.split(session.words)) in (0, 1)

    printed = iter([line.rstrip() for line in capfd.readouterr().out.splitlines()])
    for shown in session.output:
        if shown in ("", "..."):
            continue
        if session.words in HERE:
            lead = shown.split()[0]
            if lead in ("level", "details", "wasmtime", "share"):
                assert any(line.split()[:1] == [lead] for line in printed), lead
        else:
            begin = shown.partition("...")[0]
            assert any(line.startswith(begin) for line in printed), shown


def _substance(lines: list[str]) -> str:
    text = " ".join(" ".join(lines).split())
    for pattern, instead in VARIES:
        text = re.sub(pattern, instead, text)
    return text


@pytest.mark.parametrize(
    "session",
    [each for each in SESSIONS if each.words not in ELSEWHERE and absent(each)],
    ids=lambda each: f"{each.page}: {each.words}"[:80],
)
def test_a_session_on_files_of_its_own_says_what_is_shown(session, there, capfd, cpu_with):
    """Word by word, but for numbers."""
    if "app.w" in session.words:
        cpu_with("avx2")
    if "app.wasm" in session.words:
        wasmtime = pytest.importorskip("wasmtime")
        Path("app.wasm").write_bytes(wasmtime.wat2wasm(Path("app.wat").read_text()))
    assert run(shlex.split(session.words)) in (0, 1)

    printed = capfd.readouterr()
    assert _substance(session.output) in _substance((printed.out + printed.err).splitlines())


def test_the_sessions_of_the_readme_can_be_typed():
    """Every file that its commands name is in the tree."""
    assert [each.words for each in SESSIONS if each.page == "README.md" and absent(each)] == []


def run(arguments: list[str]) -> int:
    """A command line's exit code; here, but for what forks and then loads wasmtime.

    Another test of this process may have loaded it, and a fork of its threads waits for ever.
    """
    if arguments[:1] not in (["run"], ["bench"]):
        return cli.run(arguments)
    command = [sys.executable, "-m", "cpuprobe", *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, timeout=120).returncode


def commands() -> Iterator[tuple[str, str]]:
    """Every other `cpuprobe ...` in code, with the page it stands on."""
    for page in PAGES:
        text = page.read_text()
        for lines in code(page):
            joined = "\n".join(lines).replace("\\\n", " ")
            for line in joined.splitlines():
                for match in re.finditer(
                    r"(?:^|[|;&] *|\$ )cpuprobe( [^|;&>#]*|)(?=[|;&>#]|$)", line
                ):
                    yield page.name, match[1].strip()
        for match in re.finditer(r"`cpuprobe( [^`]*|)`", re.sub(r"(?ms)^```.*?^```$", "", text)):
            yield page.name, re.split(r"[|;&>]", match[1])[0].strip()


def _spelt(words: str) -> list[str]:
    """The words of a command without what a page writes for a person to fill in."""
    words = re.sub(r"\s{3,}.*", "", words)  # a remark behind it
    words = re.sub(r"\[[^\]]*(\]|$)|\.\.\.", "", words)
    return shlex.split(words.replace("\\", ""))


COMMANDS = sorted({(page, words) for page, words in commands() if "\\|" not in words})


def test_there_are_commands_to_try():
    """The expressions above find them."""
    assert len(SESSIONS) >= 12
    assert len(COMMANDS) >= 60


@every(COMMANDS, ": ".join)
def test_a_command_has_only_words_that_are_known(place):
    """Commands and options exist; what stands for a file or a number may be any word."""
    _, words = place
    command: Any = typer.main.get_command(app)
    context = command.make_context("cpuprobe", [], resilient_parsing=True)
    arguments = _spelt(words)
    while hasattr(command, "list_commands"):
        names = [each for each in arguments if not each.startswith("-")]
        if not names or names[0] not in command.list_commands(context):
            break
        before, arguments = _parted(arguments, names[0])
        assert before <= _options(command, context)
        command = command.get_command(context, names[0])

    assert _parted(arguments, "")[0] <= _options(command, context)
    assert not hasattr(command, "list_commands") or not arguments or arguments[0].startswith("-")


# What stands for a person's own word, by command where that matters.
FILL = {
    "A": "docs/examples/gds.json",
    "B": "host2.json",
    "GOOD": "docs/examples/gds.json",
    "BAD": "host2.json",
    "CAPTURE": "docs/examples/gds.json",
    "MODULE": "app.wat",
    "PATH": "reports",
    "FOLDER": "tables",
    "PROFILE": "x86-64-v3",
    "P": "x86-64-v3",
    "F": "rust",
    "NAME": "glibc",
    "check FILE": "build/app",
    "inspect FILE": "host1.json",
    "explain FILE": "crash.log",
    "app.wasm": "app.wat",
}
# A name of a command, not a command line: it wants an argument.
NAMES = {
    *("explain", "run", "inspect", "inspect --json", "check", "diff", "fleet"),
    *("profile", "profile cost", "profile check"),
}


@pytest.mark.parametrize("words", sorted({words for _, words in COMMANDS} - {*ELSEWHERE, *NAMES}))
def test_a_command_runs(words, there, capfd, monkeypatch, cpu_with):
    """Each in a folder with what it names; the exit code is that of an answer."""
    if "app.w" in words or "--module" in words:
        cpu_with("avx2")
    if "--allow" in words:
        shutil.copy2("cpu-allow.toml", "allow.toml")
    arguments = _spelt(words)
    filled = [FILL.get(f"{arguments[0]} {each}", FILL.get(each, each)) for each in arguments]
    with open("crash.log") as piped:
        monkeypatch.setattr("sys.stdin", piped)
        code = run(filled)

    assert code in (0, 1), capfd.readouterr().err


NATIVE = sorted(
    {
        re.split(r" {2,}|[|>]", match[1])[0].strip()
        for page in PAGES
        for lines in code(page)
        for line in lines
        if (match := re.match(r"\$ cpuprobe-native(.*)", line))
    }
)


@pytest.mark.parametrize("words", NATIVE)
def test_a_command_of_the_static_executable_runs(words, there):
    """Of those too; a file that is named is one that it has written."""
    native = native_executable()
    (there / "flags.json").write_bytes(
        subprocess.check_output([native, "flags", "--format", "json"])
    )
    done = subprocess.run([native, *_spelt(words)], capture_output=True, timeout=60)

    assert done.returncode in (0, 1), done.stderr
    assert done.stdout or words.startswith("check-flags")


def _parted(arguments: list[str], name: str) -> tuple[set[str], list[str]]:
    """The options before a word, and what stands behind it."""
    at = arguments.index(name) if name in arguments else len(arguments)
    options = {each.partition("=")[0] for each in arguments[:at] if re.match(r"--?[a-z]", each)}
    return options, arguments[at + 1 :]


def _options(command: Any, context: Any) -> set[str]:
    known = {each for option in command.get_params(context) for each in option.opts}
    return known | {"--help", "-h"}


def test_every_target_of_make_exists():
    """`make X` on a page is a rule of the Makefile."""
    rules = set(
        re.findall(r"(?m)^([a-z][a-z0-9-]*(?: [a-z0-9-]+)*):", (ROOT / "Makefile").read_text())
    )
    known = {name for rule in rules for name in rule.split()}
    shown = {
        name
        for page in PAGES
        for name in re.findall(r"(?:`|^    |^)make ([a-z][a-z0-9-]*)\b", page.read_text(), re.M)
    }

    assert {"run", "test", "wheel", "native"} <= shown
    assert shown <= known
