"""`cpuprobe verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from cpuprobe.cli.common import command_app, epilog, on_option, x86_machine
from cpuprobe.cli.output import complain, print_result, progress

app = command_app()


@app.command(
    short_help="Prove the safe flags on the installed wasmtime.",
    epilog=epilog(
        "cpuprobe verify",
        "cpuprobe verify --json",
        "cpuprobe verify --on oldest-host.json",
        "cpuprobe verify --module extension.wasm --profile x86-64-v2",
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
    module: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Prove it of the code of this module or component."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(metavar="PROFILE", help="With --module: the flags of a profile."),
    ] = None,
) -> int:
    """Prove the safe flags on the installed wasmtime: disassemble and run every wasm operator.

    With --module: compile that module or component with the safe flags of this machine, of a
    capture or of a profile, and look at every instruction for one beyond them. Nothing is run.
    """
    from cpuprobe.errors import CannotMeasureError, UsageError
    from cpuprobe.evidence.installed import installed_version

    version = installed_version()
    if version is None:
        raise CannotMeasureError("wasmtime is not installed: pip install wasmtime")
    if module is not None:
        return _module(module, version, flags_from, profile, json)
    if profile is not None:
        raise UsageError("--profile goes with --module")
    return _operators(version, flags_from, json)


def _operators(version: str, flags_from: str | None, json: bool) -> int:
    """The proof over every wasm operator."""
    import time

    import msgspec

    from cpuprobe.assessment import assess_with_flags
    from cpuprobe.code.elf import ArtifactError
    from cpuprobe.errors import CannotMeasureError
    from cpuprobe.facts.wasmtime import UnknownWasmtimeError
    from cpuprobe.report.proof import document, to_text

    start = time.monotonic()
    from cpuprobe.wasm.installed import compare_inference
    from cpuprobe.wasm.introspect import introspect
    from cpuprobe.wasm.proof import verify as prove

    try:
        _, observation = x86_machine(flags_from)
        assessment, flags = assess_with_flags(observation, version)
        safe = {name for name, each in assessment.features.items() if each.safe}
        with progress() as bar:
            result = prove(assessment.cranelift, safe, progress=bar)
    except (ArtifactError, UnknownWasmtimeError) as error:
        raise CannotMeasureError(str(error)) from None
    introspection = introspect()
    inference = None
    if flags_from is None and introspection.inferred is not None:
        inference = compare_inference(flags, introspection.inferred)
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


def _module(path: str, version: str, on: str | None, profile: str | None, json: bool) -> int:
    """The proof over one module; exit code 1 where its code goes beyond the set."""
    import msgspec

    from cpuprobe.assessment import assess
    from cpuprobe.emit import choose, choose_alone
    from cpuprobe.errors import CannotMeasureError, UsageError
    from cpuprobe.facts.profiles import find_profile
    from cpuprobe.facts.wasmtime import UnknownWasmtimeError, lookup
    from cpuprobe.report.proof import module_text
    from cpuprobe.wasm.module_proof import prove_module

    if on is not None and profile is not None:
        raise UsageError("--on and --profile: give one of them")
    try:
        if profile is not None:
            target = profile
            chosen = choose_alone([find_profile(profile)], lookup(version))
        else:
            target, observation = x86_machine(on)
            chosen = choose([assess(observation, version)])
    except UnknownWasmtimeError as error:
        raise CannotMeasureError(str(error)) from None
    proof = prove_module(path, version, target, chosen.values, chosen.safe)
    document = {
        "schema": "cpuprobe.verify-module/1",
        "verdict": proof.verdict,
        **msgspec.to_builtins(proof),
    }
    print_result(document, json, lambda: module_text(document))
    return int(proof.verdict != "proved")
