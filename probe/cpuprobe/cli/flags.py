"""`cpuprobe flags`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cpuprobe.cli.common import command_app

if TYPE_CHECKING:
    from cpuprobe.observation import Observation

app = command_app()


@app.command(
    epilog="Examples: cpuprobe flags --format rust | cpuprobe flags --without avx512 --format cli "
    "| cpuprobe flags --from a.json --from b.json --wasmtime 48 --format json",
)
def flags(
    dialect: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="wasmtime: text, json, rust, c, python, cli, clif. Others: gcc, llvm, rustc, "
            "glibc, openssl, numpy, onednn, godebug, dotnet, jvm, node.",
        ),
    ] = "text",
    only_off: Annotated[
        bool,
        typer.Option("--only-off", help="Only the flags to switch off; do not pin the target."),
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="Give up a group, feature or flag. Repeatable."),
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(metavar="LEVEL", help="Nothing beyond this psABI level. Repeatable."),
    ] = None,
    captures: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="CAPTURE",
            help="This report, not this machine. Several: what all share.",
        ),
    ] = None,
    wasmtime: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="For this version. Default: the installed one."),
    ] = None,
) -> None:
    """Print the flags that are safe, in the dialect of a runtime.

    Every flag the wasmtime version knows gets an explicit value, and the target is pinned: an
    allow-list. A flag is true only if the feature executed rightly on every CPU and wasmtime itself
    would accept it on this host.

    For other runtimes: gcc, llvm and rustc get the psABI level and features that are safe; the
    rest get what to switch off, on one line, or nothing if CPUID claims no more than is safe.
    docs/knobs.md says what each setting does not reach.
    """
    from cpuprobe.assessment import assess
    from cpuprobe.captures import read_capture
    from cpuprobe.emit import FORMATS, choose, notes
    from cpuprobe.errors import UsageError
    from cpuprobe.wasm.versions import UnknownWasmtimeError

    if dialect not in FORMATS:
        raise UsageError(f"--format {dialect}: no such format; there are {', '.join(FORMATS)}")
    observations = [read_capture(path) for path in captures or ()] or [_this_machine(wasmtime)]
    if len(observations) > 1 and wasmtime is None:
        wasmtime = _one_version(observations)
    try:
        assessments = [assess(each, wasmtime) for each in observations]
    except UnknownWasmtimeError as error:
        raise UsageError(f"--wasmtime: {error}") from None
    chosen = choose(assessments, without=without or (), profiles=profile or (), only_off=only_off)
    sys.stdout.write(FORMATS[dialect](chosen))
    for note in notes(dialect, chosen):
        typer.echo(f"cpuprobe: note: {note}", err=True)


def _this_machine(wasmtime: str | None) -> Observation:
    """This machine, with the flags of the installed wasmtime measured unless another is wanted."""
    import msgspec

    from cpuprobe.measure import observe

    observation = observe()
    if wasmtime is not None or observation.wasmtime is None:
        return observation
    from cpuprobe.wasm.introspect import IntrospectionError, installed_flags

    try:
        known = tuple(installed_flags())
    except IntrospectionError as error:
        typer.echo(f"cpuprobe: note: {error}; using the table of known versions", err=True)
        return observation
    found = msgspec.structs.replace(observation.wasmtime, flags=known)
    return msgspec.structs.replace(observation, wasmtime=found)


def _one_version(observations: list[Observation]) -> str | None:
    """The wasmtime version that all observed machines share, to make their flags comparable."""
    versions = {each.wasmtime.version for each in observations if each.wasmtime is not None}
    if len(versions) > 1:
        from cpuprobe.errors import UsageError

        raise UsageError(
            f"the captures have different wasmtime versions ({', '.join(sorted(versions))}); "
            "say which with --wasmtime"
        )
    return versions.pop() if versions else None
