"""`cpuprobe bench`."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Annotated

import typer

from cpuprobe.cli.common import command_app, epilog, machine
from cpuprobe.cli.output import note, print_result, progress

if TYPE_CHECKING:
    from cpuprobe.assessment import Assessment
    from cpuprobe.wasm.bench import Row, Table
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
        str | None, typer.Argument(metavar="[MODULE]", help="A .wasm or .wat file.")
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
        int, typer.Option(metavar="N", min=1, max=10000, help="Measurements of each setup.")
    ] = 9,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure what each flag is worth: a function under many flag sets, and on Pulley.

    Ratios are times divided by the safe set's in the same round: over 1 is slower.
    """
    from cpuprobe.assessment import assess
    from cpuprobe.cli.guarded import read_module
    from cpuprobe.errors import CaptureError, UsageError
    from cpuprobe.wasm.bench import BUNDLED, Table, bundled_module, measure
    from cpuprobe.wasm.request import Request

    if bundled == (module is not None):
        raise UsageError("give a MODULE and --invoke F, or --bundled")
    if module is None:
        if invoke is not None:
            raise UsageError("--invoke: the bundled modules have one function each")
        jobs: list[tuple[str, bytes, str, tuple[str, ...]]] = [
            (name, bundled_module(name), "run", given) for name, given in BUNDLED.items()
        ]
    elif invoke is None:
        raise UsageError("--invoke F: say which function to measure")
    else:
        jobs = [(os.path.basename(module), read_module(module), invoke, tuple(args or ()))]
    here = assess(machine(None)[1])
    setups = _setups(here)
    tables: list[Table] = []
    for name, content, function, given in jobs:
        request = Request(name, content, "", {}, function, given)
        try:
            with progress() as bar:
                rows = measure(request, setups, rounds, functools.partial(bar, name))
        except CaptureError as error:
            raise CaptureError(f"{module}: {error}") from None
        tables.append(Table(name, function, given, rows))
    document = {
        "schema": "cpuprobe.bench/1",
        "wasmtime": here.wasmtime.version,
        "rounds": rounds,
        "modules": tables,
    }
    version = here.wasmtime.version
    print_result(document, json, lambda: "".join(_text(each, version, rounds) for each in tables))


def _setups(here: Assessment) -> list[tuple[str, Setup]]:
    from cpuprobe.emit import choose
    from cpuprobe.emit.wasmtime import TARGET
    from cpuprobe.errors import CannotMeasureError
    from cpuprobe.facts.profiles import find_profile
    from cpuprobe.wasm.bench import single_flags
    from cpuprobe.wasm.guard import inferred_flags
    from cpuprobe.wasm.setup import PULLEY, Setup

    safe = Setup(TARGET, here.cranelift)
    setups = [("safe set", safe)]
    try:
        setups.append(("all host flags (inferred)", Setup(TARGET, inferred_flags())))
    except CannotMeasureError as error:
        note(str(error))
    fewer = choose([here], without=["avx512"]).values
    setups.append(("without AVX-512", Setup(TARGET, fewer)))
    for level in ("x86-64-v3", "x86-64-v2", "x86-64-v1"):
        within = choose([here], profiles=[find_profile(level)]).values
        setups.append((level, Setup(TARGET, within)))
    return [*setups, *single_flags(safe), ("Pulley", Setup(PULLEY))]


def _text(table: Table, version: str, rounds: int) -> str:
    call = f"{table.invoke}({', '.join(table.args)})"
    lines = [
        f"{table.module}: {call}, wasmtime {version}, {rounds} rounds",
        f"  {'setup':<30} {'time a call':>12} {'ratio':>7}  quartiles",
    ]
    lines += [f"  {row.name:<30} {_numbers(row)}" for row in table.rows]
    return "\n".join(lines) + "\n\n"


def _numbers(row: Row) -> str:
    if row.failed is not None:
        return f"did not run: {row.failed}"[:68]
    if row.same_code_as is not None:
        return f"same code as {row.same_code_as}"
    assert row.seconds is not None
    return f"{_time(row.seconds):>12} {row.ratio:>7.3f}  {row.low:.3f} .. {row.high:.3f}"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3f} {unit}"
    return f"{seconds * 1e9:.1f} ns"
