"""`cpuprobe explain`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated

import typer

from cpuprobe.cli.common import command_app, epilog, machine, name_of, on_option
from cpuprobe.cli.output import print_result

if TYPE_CHECKING:
    from cpuprobe.assessment import Assessment
    from cpuprobe.evidence.crashes.model import Crash

app = command_app()


@app.command(
    short_help="Tell which instruction died and what it needs.",
    epilog=epilog(
        "cpuprobe explain 62 f2 fd 08 40 c1",
        "dmesg | cpuprobe explain --log -",
        "cpuprobe explain --core core --on report.json",
        "cpuprobe explain --exit-code 132",
        zero="explained",
        one="the instruction needs what the machine does not safely have",
    ),
)
def explain(
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="[HEX]", help="Bytes of code, an assembler line, or a log line."),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Kernel log, gdb, objdump or coredumpctl text; - stdin."),
    ] = None,
    core: Annotated[str | None, typer.Option(metavar="FILE", help="A core file.")] = None,
    minidump: Annotated[str | None, typer.Option(metavar="FILE", help="A minidump.")] = None,
    exit_code: Annotated[
        str | None,
        typer.Option(metavar="N", help="132, -4, 0xC000001D, SIGILL: how the process ended."),
    ] = None,
    exe: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="The program or library that crashed. Repeatable."),
    ] = None,
    on: Annotated[str | None, on_option()] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Tell which instruction died, what it needs, and whether this machine has it."""
    from cpuprobe.crash.diagnose import diagnose
    from cpuprobe.report.explanation import to_json, to_text, worded

    crashes = _crashes(text, log, core, minidump, exit_code, tuple(exe or ()))
    name = "this machine" if on is None else name_of(on)
    assessed = functools.cache(functools.partial(_assessed, on))
    answers = [diagnose(crash, assessed, name) for crash in crashes]
    words = [worded(answer) for answer in answers]
    print_result(to_json(name, words), json, lambda: to_text(name, words))
    return int(any(answer.lacking for answer in answers))


def _crashes(
    text: list[str] | None,
    log: str | None,
    core: str | None,
    minidump: str | None,
    exit_code: str | None,
    executables: tuple[str, ...],
) -> list[Crash]:
    from dataclasses import replace

    from cpuprobe.errors import UsageError
    from cpuprobe.evidence.crashes.core_file import read_core
    from cpuprobe.evidence.crashes.minidump import read_minidump
    from cpuprobe.evidence.crashes.read import read_log, read_text
    from cpuprobe.evidence.crashes.status import read_status

    given = [each for each in (text, log, core, minidump) if each]
    if len(given) > 1 or (exit_code is not None and (core or minidump)):
        raise UsageError("give one of HEX, --log, --core, --minidump; one crash at a time")
    status = None if exit_code is None else read_status(exit_code)
    if text:
        found = read_text(" ".join(text), executables)
    elif log:
        found = read_log(log, executables)
    elif core:
        found = [read_core(core, executables)]
    elif minidump:
        found = [read_minidump(minidump, executables)]
    elif status is not None:
        return [status]
    else:
        raise UsageError(
            "nothing to explain: give bytes of code, --log, --core, --minidump or --exit-code"
        )
    if status is not None:
        found = [replace(each, signal=each.signal or status.signal) for each in found]
    return found


def _assessed(capture: str | None) -> Assessment:
    from cpuprobe.assessment import assess

    return assess(machine(capture)[1])
