"""`cpuprobe inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from cpuprobe.cli.common import command_app, show

app = command_app()


@app.command(
    epilog="Examples: cpuprobe inspect report.json | ssh host cpuprobe-native | cpuprobe inspect -",
)
def inspect(
    captures: Annotated[
        list[str], typer.Argument(metavar="CAPTURE...", help="Reports; - is standard input.")
    ],
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON: an object, or an array.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Show every feature.")] = False,
) -> int:
    """Assess other machines' reports: of cpuprobe --json or of cpuprobe-native."""
    from cpuprobe.assessment import assess
    from cpuprobe.captures import read_capture

    read = [(path, read_capture(path)) for path in captures]
    return show([(path, each, assess(each)) for path, each in read], json, every)
