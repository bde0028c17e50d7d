"""`cpuprobe verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from cpuprobe.cli.common import command_app, epilog, machine, on_option
from cpuprobe.cli.output import complain, print_result, progress

app = command_app()


@app.command(
    short_help="Prove the safe flags on the installed wasmtime.",
    epilog=epilog(
        "cpuprobe verify",
        "cpuprobe verify --json",
        "cpuprobe verify --on oldest-host.json",
        zero="proved",
        one="not so",
        three="cannot tell: no wasmtime, or one without Pulley",
    ),
)
def verify(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    flags_from: Annotated[
        str | None, on_option("--flags-from", more=" Its flags are proved here.")
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
    from cpuprobe.wasm.proof import verify as prove

    try:
        _, observation = machine(flags_from)
        assessment = assess(observation, version)
        safe = {name for name, each in assessment.features.items() if each.safe}
        with progress() as bar:
            result = prove(assessment.cranelift, safe, progress=bar)
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
        round(time.monotonic() - start, 1),
        msgspec.to_builtins(introspection),
    )
    print_result(report, json, lambda: to_text(report))
    if result.verdict == "unfinished":
        complain(str(result.not_compared))
        return 3
    return int(result.verdict != "proved" or bool(inference and inference.differ))
