"""Every command line that README and docs/ show: it runs, or at least its every word is known."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from tests.every import every

from cpuprobe.cli import run
from cpuprobe.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])

# What a test cannot run as it stands, and what runs it instead.
ELSEWHERE = {
    "fleet dumps/": "InstLatx64's dumps are not in the tree: tests/unit/fleet",
    "fleet dumps/ --html fleet.html": "likewise",
    "run esbuild.wasm": "a module of 10 MB: tests/unit/wasm/test_run.py",
    "profile lint fleet.toml": "the page shows the file: tests/unit/cli/test_profile_cli.py",
    "profile lint --prove": "starts wasmtime a hundred times: tests/unit/wasm/test_presets.py",
    "verify --module sql-wasm.wasm --profile x86-64-v2": "a module of 700 KB: tests/unit/wasm",
    "verify": "takes seconds and the installed wasmtime: tests/unit/wasm/test_verify.py",
}
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


def test_the_sessions_of_the_readme_can_be_typed():
    """Every file that its commands name is in the tree."""
    assert [each.words for each in SESSIONS if each.page == "README.md" and absent(each)] == []


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
    words = re.sub(r"\[[^\]]*\]|\.\.\.", "", words)
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
    rules = set(re.findall(r"(?m)^([a-z][a-z-]*(?: [a-z-]+)*):", (ROOT / "Makefile").read_text()))
    known = {name for rule in rules for name in rule.split()}
    shown = {
        name
        for page in PAGES
        for name in re.findall(r"(?:`|^    |^)make ([a-z][a-z0-9-]*)\b", page.read_text(), re.M)
    }

    assert {"run", "test", "wheel", "native"} <= shown
    assert shown <= known
