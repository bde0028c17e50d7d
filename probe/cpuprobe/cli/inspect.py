"""`cpuprobe inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cpuprobe.cli.common import command_app, epilog, is_piped, share_option, show
from cpuprobe.cli.output import note
from cpuprobe.errors import UsageError
from cpuprobe.words import visible

if TYPE_CHECKING:
    from cpuprobe.assessment import Assessment
    from cpuprobe.evidence.observation import Observation

app = command_app()


@app.command(
    short_help="Assess another machine's data, whatever was pasted.",
    epilog=epilog(
        "cpuprobe inspect report.json issue.md screen.txt",
        "ssh host ./cpuprobe-native | cpuprobe inspect -",
        "lscpu -J | cpuprobe inspect --json",
        "cpuprobe inspect --together cpuid.txt lscpu.txt dmesg.txt",
        zero="no finding of severity error",
        one="a finding of severity error",
        four="unreadable input, or nothing in it tells of a feature",
    ),
)
def inspect(
    captures: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CAPTURE]...", help="Files; - is standard input, as is a pipe."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON: an object, or an array.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Show every feature.")] = False,
    share: Annotated[bool, share_option()] = False,
    together: Annotated[
        bool, typer.Option("--together", help="The files describe one machine: judge them as one.")
    ] = False,
) -> int:
    """Assess another machine's data, whatever was pasted.

    Read by content: what cpuprobe and cpuprobe-native print, lscpu, /proc/cpuinfo, `cpuid`, and
    some forty other formats (docs/captures.md). Text around the data does no harm.
    """
    from cpuprobe.assessment import assess
    from cpuprobe.evidence.machines.read import read_machines, read_together

    if not captures and not is_piped():
        raise UsageError(
            "nothing to inspect: give a CAPTURE (- is standard input), a pipe, or --help"
        )
    captures = captures or ["-"]
    if together:
        machine = read_together(captures)
        return show([(" + ".join(captures), machine, assess(machine))], json, every, share)
    results = [
        (f"{path}: {visible(heading)}" if heading else path, each, assess(each))
        for path in captures
        for heading, each in read_machines(path)
    ]
    if len(results) > 1 and _of_one_machine(results):
        note(
            "these are of CPUs that look alike: if they are of one machine, "
            "`cpuprobe inspect --together` judges them as one"
        )
    return show(results, json, every, share)


def _of_one_machine(results: list[tuple[str, Observation, Assessment]]) -> bool:
    """Whether captures of different kinds name one and the same CPU."""
    sources = {observation.source for _, observation, _ in results}
    names = {
        (told.vendor, told.family, told.model, told.stepping)
        for told in (assessed.identity for _, _, assessed in results)
    }
    return len(sources) == len(results) and len(names) == 1 and None not in names.pop()
