"""What a TAB offers, and the man pages: made from the help, and understood by who reads them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.tools.help_pages import COMPLETIONS, MAN, files, pages

from cpuprobe.cli import run
from cpuprobe.cli.app import COMMANDS
from cpuprobe.emit import FORMATS

BASH = COMPLETIONS / "bash" / "cpuprobe"
ZSH = COMPLETIONS / "zsh" / "_cpuprobe"
FISH = COMPLETIONS / "fish" / "cpuprobe.fish"


def offered(*words: str, folder: Path) -> set[str]:
    """What bash offers at the end of a command line; the last word is being typed."""
    script = (
        f'source {BASH}; COMP_WORDS=(cpuprobe "$@"); COMP_CWORD=$#; _cpuprobe;'
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    said = subprocess.run(
        ["bash", "-c", script, "bash", *words], capture_output=True, text=True, cwd=folder
    )
    assert said.stderr == ""
    return set(said.stdout.split())


def test_bash_offers_what_may_stand_there(tmp_path):
    """Commands, options of the command, values of the option, else files."""
    (tmp_path / "report.json").touch()

    assert set(COMMANDS) | {"--json", "--all", "--share"} <= offered("", folder=tmp_path)
    assert offered("ins", folder=tmp_path) == {"inspect"}
    assert {"--on", "--from", "--format"} <= offered("report", "--", folder=tmp_path)
    assert offered("flags", "--format", "", folder=tmp_path) == set(FORMATS)
    assert offered("flags", "--format", "num", folder=tmp_path) == {"numpy"}
    assert offered("report", "--format", "", folder=tmp_path) == {"markdown", "json", "html"}
    assert offered("inspect", "rep", folder=tmp_path) == {"report.json"}
    assert "check" in offered("profile", "", folder=tmp_path)
    assert "--strict" in offered("profile", "check", "--s", folder=tmp_path)
    assert "rhel-9" in offered("check", "x", "--against", "rh", folder=tmp_path)


def test_fish_offers_what_may_stand_there(tmp_path):
    """Asked as fish asks itself."""
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")

    def asked(line: str) -> set[str]:
        said = subprocess.run(
            ["fish", "--no-config", "-c", f"source {FISH}; complete -C '{line}'"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        return {row.split("\t")[0] for row in said.stdout.splitlines()}

    assert set(COMMANDS) <= asked("cpuprobe ")
    assert asked("cpuprobe flags --format num") == {"numpy"}
    assert "--on" in asked("cpuprobe report --o")


def test_zsh_reads_its_script():
    """Without a word on standard error, under its own options."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    script = f"autoload -Uz compinit; compinit -D -u; source {ZSH}; print $_comps[cpuprobe]"
    said = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True)

    assert (said.stdout, said.stderr) == ("_cpuprobe\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_command_prints_the_script(shell, capfd):
    """What is installed and what is printed is one text."""
    (path,) = (COMPLETIONS / shell).iterdir()

    assert run(["completion", shell]) == 0
    assert capfd.readouterr().out == path.read_text()


def test_an_unknown_shell_is_told(capfd):
    """One line that names those that are known."""
    assert run(["completion", "csh"]) == 2
    assert "there are bash, zsh, fish" in capfd.readouterr().err


def test_every_command_has_its_page():
    """And no page is of a command that has gone."""
    assert {f"{each.name.replace(' ', '-')}.1" for each in pages()} == {
        path.name for path in MAN.iterdir()
    }
    assert {path for path in COMPLETIONS.rglob("*") if path.is_file()} <= set(files())


def test_the_pages_are_sound():
    """groff formats each without a warning."""
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    said = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", *sorted(MAN.iterdir())],
        capture_output=True,
        text=True,
    )

    assert (said.returncode, said.stderr) == (0, "")
