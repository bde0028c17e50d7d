"""`cpuprobe verify`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cpuprobe.cli.common import command_app
from cpuprobe.cli.output import write_result

if TYPE_CHECKING:
    from cpuprobe.wasm.proof import Progress

app = command_app()


@app.command(
    short_help="Prove the safe flags on the installed wasmtime.",
    epilog="Examples: cpuprobe verify | cpuprobe verify --json | "
    "cpuprobe verify --flags-from oldest-host.json. "
    "Exit codes: 0 proved, 1 not so, 3 cannot tell: no wasmtime, or one without Pulley.",
)
def verify(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    flags_from: Annotated[
        str | None,
        typer.Option(
            metavar="CAPTURE", help="Prove the flags for this machine instead; - is stdin."
        ),
    ] = None,
) -> int:
    """Prove the safe flags on the installed wasmtime: disassemble and run every wasm operator."""
    import time

    import msgspec

    from cpuprobe.assessment import assess
    from cpuprobe.code.elf import ArtifactError
    from cpuprobe.errors import CannotMeasureError
    from cpuprobe.evidence.installed import installed_version
    from cpuprobe.facts.wasmtime import UnknownWasmtimeError
    from cpuprobe.report.proof import document, to_text

    start = time.monotonic()
    version = installed_version()
    if version is None:
        raise CannotMeasureError("wasmtime is not installed: pip install wasmtime")
    from cpuprobe.wasm.inference import compare_inference, refused_flags
    from cpuprobe.wasm.introspect import introspect
    from cpuprobe.wasm.proof import seconds_since
    from cpuprobe.wasm.proof import verify as prove

    try:
        if flags_from is None:
            from cpuprobe.evidence.measure import observe

            observation = observe()
        else:
            from cpuprobe.evidence.machines import read_capture

            observation = read_capture(flags_from)
        assessment = assess(observation, version)
        safe = {name for name, each in assessment.features.items() if each.safe}
        with _bar() as progress:
            result = prove(assessment.cranelift, safe, progress=progress)
    except (ArtifactError, UnknownWasmtimeError) as error:
        raise CannotMeasureError(str(error)) from None
    introspection = introspect()
    inference = None
    if flags_from is None and introspection.inferred is not None:
        inference = compare_inference(
            observation, assessment.cranelift, refused_flags(version), introspection.inferred
        )
    report = document(
        msgspec.to_builtins(result),
        result.verdict,
        None if inference is None else msgspec.to_builtins(inference),
        seconds_since(start),
        msgspec.to_builtins(introspection),
    )
    write_result(report, json, lambda: to_text(report))
    if result.verdict == "unfinished":
        typer.echo(f"cpuprobe: error: {result.not_compared}", err=True)
        return 3
    return int(result.verdict != "proved" or bool(inference and inference.differ))


@contextmanager
def _bar() -> Iterator[Progress]:
    """A progress bar on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as shown:
        task = shown.add_task("", total=1)

        def progress(what: str, done: int, of: int) -> None:
            shown.update(task, description=what, completed=done, total=of or 1)

        yield progress
