"""`cpuprobe run`."""

from __future__ import annotations

from typing import Annotated

import typer

from cpuprobe.cli.common import command_app, epilog, no_option, on_option
from cpuprobe.cli.running import run as run_module

app = command_app()


@app.command(
    short_help="Run a module under guard, with a fallback where it dies.",
    # What is no option of ours is the program's: -2 is a number.
    context_settings={"ignore_unknown_options": True},
    epilog=epilog(
        "cpuprobe run prog.wasm",
        "cpuprobe run sums.wat --invoke add 2 -3",
        "cpuprobe run component.wasm --invoke my:pkg/sums#add 2 3",
        "cpuprobe run --dir data::/data --record prog.json prog.wasm -- --verbose",
        zero="and any other: the program's own (134 for a wasm trap)",
        one="also where the program's own is 0, but the run fell back",
        four="also where the module cannot be read; 128 + signal if it died",
    ),
)
def run(
    module: Annotated[
        str,
        typer.Argument(
            metavar="MODULE", callback=no_option, help="A module or component, .wasm or .wat."
        ),
    ],
    args: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ARGS]", help="For the program; for F with --invoke."),
    ] = None,
    invoke: Annotated[
        str | None, typer.Option(metavar="F", help="Call this function. Default: _start.")
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A variable for the program. Repeatable."),
    ] = None,
    folder: Annotated[
        list[str] | None,
        typer.Option("--dir", metavar="HOST::GUEST", help="A folder for the program. Repeatable."),
    ] = None,
    stub_imports: Annotated[
        bool,
        typer.Option("--stub-imports", help="Let functions that trap stand for unknown imports."),
    ] = False,
    cache_folder: Annotated[
        str | None,
        typer.Option("--cache", metavar="DIR", help="Keep compiled code here for the next run."),
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Run it again even if it has had side effects.")
    ] = False,
    record: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Keep here what worked, and begin with that next time."),
    ] = None,
    flags_from: Annotated[
        str | None,
        on_option("--flags-from", more=" Begin with the flags safe there."),
    ] = None,
    inferred: Annotated[
        bool, typer.Option("--inferred", help="Begin with the flags that wasmtime itself infers.")
    ] = False,
    wasm_features: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Proposals, e.g. wide_arithmetic,-relaxed_simd."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> int:
    """Run a module under guard; where compiled code dies, find the flag or fall back to Pulley."""
    return run_module(
        module,
        args or (),
        invoke=invoke,
        env=env or (),
        folder=folder or (),
        stub_imports=stub_imports,
        cache_folder=cache_folder,
        retry=retry,
        record=record,
        flags_from=flags_from,
        inferred=inferred,
        wasm_features=wasm_features,
        quiet=quiet,
    )
