"""`cpuprobe bench`."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Annotated

import typer

from cpuprobe.cli.common import command_app, epilog, no_option, x86_machine
from cpuprobe.cli.output import note, print_result, progress

if TYPE_CHECKING:
    from cpuprobe.assessment import Assessment
    from cpuprobe.wasm.setup import Setup

app = command_app()


@app.command(
    short_help="Measure what each flag is worth.",
    context_settings={"ignore_unknown_options": True},
    epilog=epilog(
        "cpuprobe bench --bundled",
        "cpuprobe bench kernel.wasm --invoke blur 640 480",
        "cpuprobe bench kernel.wat --invoke f --json --rounds 25",
        zero="measured",
    ),
)
def bench(
    module: Annotated[
        str | None,
        typer.Argument(metavar="[MODULE]", callback=no_option, help="A .wasm or .wat file."),
    ] = None,
    args: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGS]", help="The function's arguments.")
    ] = None,
    invoke: Annotated[
        str | None, typer.Option(metavar="F", help="The exported function to measure.")
    ] = None,
    bundled: Annotated[
        bool, typer.Option("--bundled", help="Measure the modules that come with cpuprobe.")
    ] = False,
    rounds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=10000,
            help="Measurements of each. Default: 7 to 41, as noise requires.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure what each flag is worth: a function under many flag sets, and on Pulley.

    Ratios are times divided by the safe set's in the same round: over 1 is slower. Rounds go on
    until it is clear of each row whether it differs by more than 3 %. The last lines say what each
    psABI level and AVX-512 are worth to this function.
    """
    from cpuprobe.assessment import assess
    from cpuprobe.errors import CaptureError
    from cpuprobe.report.bench import to_text
    from cpuprobe.wasm.bench import Table, measure
    from cpuprobe.wasm.request import Request

    jobs = _jobs(module, invoke, tuple(args or ()), bundled)
    here = assess(x86_machine(None)[1])
    setups = _setups(here)
    tables: list[Table] = []
    for name, content, function, given in jobs:
        request = Request(name, content, "", {}, function, given)
        try:
            with progress() as bar:
                seen = measure(request, setups, rounds, functools.partial(bar, name))
        except CaptureError as error:
            raise CaptureError(f"{module}: {error}") from None
        tables.append(Table(name, function, given, seen.rows, seen.rounds, seen.worth))
    document = {
        "schema": "cpuprobe.bench/1",
        "wasmtime": here.wasmtime.version,
        "rounds": max(each.rounds for each in tables),
        "modules": tables,
    }
    version = here.wasmtime.version
    print_result(document, json, lambda: "\n\n".join(to_text(each, version) for each in tables))


def _jobs(
    module: str | None, invoke: str | None, args: tuple[str, ...], bundled: bool
) -> list[tuple[str, bytes, str, tuple[str, ...]]]:
    """What to measure: name, bytes, function and arguments of each."""
    from cpuprobe.cli.running import read_module
    from cpuprobe.errors import UsageError
    from cpuprobe.wasm.bench import BUNDLED, bundled_module

    if bundled == (module is not None):
        raise UsageError("give a MODULE and --invoke F, or --bundled")
    if module is None:
        if invoke is not None:
            raise UsageError("--invoke: the bundled modules have one function each")
        return [(name, bundled_module(name), "run", given) for name, given in BUNDLED.items()]
    if invoke is None:
        raise UsageError("--invoke F: say which function to measure")
    return [(os.path.basename(module), read_module(module), invoke, args)]


def _setups(here: Assessment) -> list[tuple[str, Setup]]:
    from cpuprobe.emit import choose
    from cpuprobe.errors import CannotMeasureError
    from cpuprobe.facts.profiles import find_profile
    from cpuprobe.facts.target import TARGET
    from cpuprobe.wasm.bench import single_flags
    from cpuprobe.wasm.introspect import flags_by_fork
    from cpuprobe.wasm.setup import PULLEY, Setup

    safe = Setup(TARGET, here.cranelift)
    setups = [("safe set", safe)]
    try:
        setups.append(("all host flags (inferred)", Setup(TARGET, flags_by_fork())))
    except CannotMeasureError as error:
        note(str(error))
    fewer = choose([here], without=["avx512"]).values
    setups.append(("without AVX-512", Setup(TARGET, fewer)))
    for level in ("x86-64-v3", "x86-64-v2", "x86-64-v1"):
        within = choose([here], profiles=[find_profile(level)]).values
        setups.append((level, Setup(TARGET, within)))
    return [*setups, *single_flags(safe), ("Pulley", Setup(PULLEY))]
