"""`cpuprobe completion`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cpuprobe.cli.common import command_app, epilog
from cpuprobe.cli.output import print_text

_FILES = {"bash": "cpuprobe", "zsh": "_cpuprobe", "fish": "cpuprobe.fish"}

app = command_app()


@app.command(
    short_help="Print what a shell needs to complete command lines.",
    epilog=epilog(
        "source <(cpuprobe completion bash)    # in ~/.bashrc",
        "source <(cpuprobe completion zsh)     # in ~/.zshrc, after compinit",
        "cpuprobe completion fish > ~/.config/fish/completions/cpuprobe.fish",
        zero="printed",
        three="",
        four="",
    ),
)
def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print what a shell needs to complete command lines: commands, options, their values, files.

    It is a script of fixed words: no TAB starts Python.
    """
    from cpuprobe.errors import UsageError

    if shell not in _FILES:
        raise UsageError(f"{shell}: no such shell; there are {', '.join(_FILES)}")
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.path.join(package, "completions", shell, _FILES[shell])
    with open(path, encoding="utf-8") as file:
        print_text(file.read())
