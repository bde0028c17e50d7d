"""`cpuprobe explain`."""

from __future__ import annotations

import functools
import os
import platform
from typing import TYPE_CHECKING, Annotated

import typer

from cpuprobe.cli.common import command_app, epilog, is_piped, machine, name_of, on_option
from cpuprobe.cli.output import print_result
from cpuprobe.errors import CaptureError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cpuprobe.assessment import Assessment
    from cpuprobe.evidence.crashes.told import Told

app = command_app()


@app.command(
    short_help="Say which instruction died and what it needs.",
    epilog=epilog(
        "cpuprobe explain crash.log",
        "dmesg | cpuprobe explain -",
        "cpuprobe explain 62 f2 fd 08 40 c1",
        "cpuprobe explain --core core --on report.json",
        "cpuprobe explain --exit-code 132",
        zero="explained",
        one="the instruction needs what the machine does not safely have",
    ),
)
def explain(
    text: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT or FILE]",
            help="A file with a crash, - for standard input, or the text itself: a log line, bytes "
            "of code, an assembler line, an exit code.",
        ),
    ] = None,
    log: Annotated[
        str | None, typer.Option(metavar="FILE", help="A file with text; - is standard input.")
    ] = None,
    core: Annotated[str | None, typer.Option(metavar="FILE", help="A core file.")] = None,
    minidump: Annotated[str | None, typer.Option(metavar="FILE", help="A minidump.")] = None,
    journal: Annotated[
        bool, typer.Option("--journal", help="The illegal instructions in systemd's journal.")
    ] = False,
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
    """Say which instruction died, what it needs, and whether this machine has it."""
    from cpuprobe.crash.diagnose import diagnose
    from cpuprobe.report.explanation import to_json, to_text, worded

    given = [bool(each) for each in (text, log, core, minidump, journal)]
    if sum(given) > 1 or (exit_code is not None and (core or minidump or journal)):
        raise UsageError("give one of TEXT, --log, --core, --minidump, --journal at a time")
    if on == "-" and (log == "-" or (text and "-" in text)):
        raise UsageError("standard input is either the crash or the machine")
    told = _told(text, log, core, minidump, journal, exit_code, tuple(exe or ()))
    name, isa, assessed = _machine(on, told)
    capture = on or ""
    if on is None and told.machine is not None:
        capture = log or (text[0] if text and len(text) == 1 and os.path.isfile(text[0]) else "")
    if capture == "-":
        capture = ""
    answers = [diagnose(crash, assessed, name, capture, isa) for crash in told.crashes]
    words = [worded(answer) for answer in answers]
    print_result(to_json(name, words), json, lambda: to_text(name, words))
    return int(any(answer.lacking for answer in answers))


def _told(
    text: list[str] | None,
    log: str | None,
    core: str | None,
    minidump: str | None,
    journal: bool,
    exit_code: str | None,
    executables: tuple[str, ...],
) -> Told:
    from dataclasses import replace

    from cpuprobe.evidence.crashes.status import read_status
    from cpuprobe.evidence.crashes.told import Told, of_file, of_text, tell

    try:
        status = None if exit_code is None else read_status(exit_code)
    except CaptureError as error:  # of an option, not of what it is given
        raise UsageError(f"--exit-code {error}") from None
    if journal:
        from cpuprobe.evidence.crashes.journal import read_journal

        return Told(read_journal())
    if core:
        from cpuprobe.evidence.crashes.core_file import read_core

        return Told([read_core(core, executables)])
    if minidump:
        from cpuprobe.evidence.crashes.minidump import read_minidump

        return Told([read_minidump(minidump, executables)])
    if text:
        told = tell(text, executables)
    elif log:
        told = of_file(log, executables)
    elif status is not None:
        return Told([status])
    elif piped := _piped():
        told = of_text(piped, executables)
    else:
        raise UsageError("nothing to explain: give a file, a text, bytes of code, or --help")
    if status is not None:
        crashes = [replace(each, signal=each.signal or status.signal) for each in told.crashes]
        told = told._replace(crashes=crashes)
    return told


def _piped() -> bytes:
    """Standard input where it is no terminal; empty if nothing comes."""
    from cpuprobe.evidence.crashes.read import MAXIMUM_BYTES
    from cpuprobe.files import read_bounded

    if not is_piped():
        return b""
    return read_bounded("-", MAXIMUM_BYTES, ": give the part with the crash")[1]


def _machine(on: str | None, told: Told) -> tuple[str, Callable[[], str], Callable[[], Assessment]]:
    """What the machine in question is called, its instruction set, and its assessment.

    It is measured or read when one of the two is asked for.
    """
    from cpuprobe.assessment import assess

    observed = functools.cache(lambda: told.machine or machine(on)[1])
    if on is not None:
        name, observed = name_of(on), functools.cache(lambda: machine(on)[1])
    else:
        name = "this machine" if told.machine is None else "the machine in the text"
    assessed = functools.cache(lambda: assess(observed()))
    if on is None and told.machine is None:
        return name, lambda: platform.machine().replace("AMD64", "x86_64"), assessed
    return name, lambda: observed().isa, assessed
