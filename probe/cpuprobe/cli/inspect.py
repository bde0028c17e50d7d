"""`cpuprobe inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from cpuprobe.cli.common import command_app, epilog, show

app = command_app()


@app.command(
    short_help="Assess another machine's data, whatever was pasted.",
    epilog=epilog(
        "cpuprobe inspect report.json issue.md",
        "ssh host ./cpuprobe-native | cpuprobe inspect -",
        "lscpu -J | cpuprobe inspect - --json",
        zero="no finding of severity error",
        one="a finding of severity error",
        four="unreadable input, or nothing in it tells of a feature",
    ),
)
def inspect(
    captures: Annotated[
        list[str], typer.Argument(metavar="CAPTURE...", help="Files; - is standard input.")
    ],
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON: an object, or an array.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Show every feature.")] = False,
) -> int:
    """Assess another machine's data, whatever was pasted.

    Read by content: reports of cpuprobe and cpuprobe-native, `cpuid -r`, AIDA64 and InstLatx64
    dumps, libcpuid raw dumps, /proc/cpuinfo, lscpu. Text around the data does not disturb.
    """
    from cpuprobe.assessment import assess
    from cpuprobe.evidence.machines import read_capture

    read = [(path, read_capture(path)) for path in captures]
    return show([(path, each, assess(each)) for path, each in read], json, every)
