"""`cpuprobe diff`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cpuprobe.cli.common import command_app, epilog
from cpuprobe.cli.output import print_lines, print_result, width
from cpuprobe.words import visible

app = command_app()


@app.command(
    short_help="Compare two machines.",
    epilog=epilog(
        "cpuprobe diff works.json dies.json",
        "ssh host ./cpuprobe-native | cpuprobe diff mine.json -",
        zero="compared, whatever differs",
    ),
)
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A capture; - is standard input.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other capture.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    wasmtime: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Compare flags for this version. Default: A's own."),
    ] = None,
) -> None:
    """Compare two machines, and say whether what one compiles runs on the other."""
    from cpuprobe.assessment import assess
    from cpuprobe.assessment.difference import Side, compare, to_json
    from cpuprobe.errors import UsageError
    from cpuprobe.evidence.machines import read_capture
    from cpuprobe.facts.isa import facts_of
    from cpuprobe.facts.wasmtime import UnknownWasmtimeError

    if a == b == "-":
        raise UsageError("only one of the two captures can be standard input")
    observations = [read_capture(a), read_capture(b)]
    isas = [facts_of(each.isa).name for each in observations]
    if isas[0] != isas[1]:
        raise UsageError(
            f"A is of {isas[0]} and B of {isas[1]}: nothing that one compiles runs on the other"
        )
    try:
        first = assess(observations[0], wasmtime)
        # Flags are only comparable for one version: A's, unless it has none and B has.
        version = wasmtime or first.wasmtime.version
        if wasmtime is None and not first.wasmtime.installed:
            found = observations[1].wasmtime
            version = version if found is None else found.version
            first = assess(observations[0], version)
        second = assess(observations[1], version)
    except UnknownWasmtimeError as error:
        raise UsageError(f"--wasmtime: {error}") from None
    names = _names(a, b)
    difference = compare(
        Side(names[0], observations[0], first), Side(names[1], observations[1], second)
    )
    if json:
        print_result(to_json(difference), True, str)
    else:
        from cpuprobe.report.diff_text import lines

        print_lines(lines(difference, width()))


def _names(a: str, b: str) -> tuple[str, str]:
    """The files' names without their folders, which say more of the user than of the machines."""
    short = os.path.basename(a), os.path.basename(b)
    first, second = (a, b) if short[0] == short[1] else short
    return _called(first), _called(second)


def _called(name: str) -> str:
    return "standard input" if name == "-" else visible(name)
