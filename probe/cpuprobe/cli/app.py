"""The commands. Heavy modules are imported inside them: `cpuprobe --json` must start fast."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from cpuprobe.assessment import Assessment
    from cpuprobe.observation import Observation

app = typer.Typer(
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="What this CPU claims, what the kernel grants, and what the silicon does.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from cpuprobe import __version__

        typer.echo(f"cpuprobe {__version__}")
        raise typer.Exit


@app.callback(
    invoke_without_command=True,
    epilog="Examples: cpuprobe | cpuprobe --json > report.json | cpuprobe flags --format python. "
    "Exit codes: 0 no error found, 1 a finding of severity error, 2 usage, 3 could not measure, "
    "4 unreadable input.",
)
def probe(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Show every feature.")] = False,
    cpus: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help="Only these CPUs, e.g. 0-3,8. Default: all that are allowed."
        ),
    ] = None,
    no_exec: Annotated[
        bool, typer.Option("--no-exec", help="Execute nothing; read CPUID and XCR0 only.")
    ] = False,
    root: Annotated[
        str, typer.Option(metavar="DIR", help="Take /proc and /sys from below DIR.")
    ] = "/",
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> int:
    """Probe this machine: execute each instruction-set extension and compare with what is claimed."""
    if context.invoked_subcommand is not None:
        return 0
    from cpuprobe.assessment import assess
    from cpuprobe.measure import observe

    observation = observe(cpus=cpus, execute=not no_exec, root=root)
    return _show([("this machine", observation, assess(observation))], json, every)


@app.command(
    epilog="Examples: cpuprobe flags --format rust | cpuprobe flags --without avx512 --format cli | "
    "cpuprobe flags --from a.json --from b.json --wasmtime 48 --format json",
)
def flags(
    dialect: Annotated[
        str,
        typer.Option("--format", metavar="FORMAT", help="text, json, rust, c, python, cli or clif."),
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
            "--from", metavar="CAPTURE", help="This report, not this machine. Several: what all share."
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
    """
    from cpuprobe.assessment import assess
    from cpuprobe.emit import FORMATS, choose
    from cpuprobe.errors import UsageError
    from cpuprobe.wasm.versions import UnknownWasmtimeError

    if dialect not in FORMATS:
        raise UsageError(f"--format {dialect}: no such format; there are {', '.join(FORMATS)}")
    observations = [_read(path) for path in captures or ()] or [_this_machine(wasmtime)]
    if len(observations) > 1 and wasmtime is None:
        wasmtime = _one_version(observations)
    try:
        assessments = [assess(each, wasmtime) for each in observations]
    except UnknownWasmtimeError as error:
        raise UsageError(f"--wasmtime: {error}") from None
    chosen = choose(
        assessments, without=without or (), profiles=profile or (), only_off=only_off
    )
    sys.stdout.write(FORMATS[dialect](chosen))


@app.command(
    epilog="Examples: cpuprobe inspect report.json | ssh host cpuprobe-native | cpuprobe inspect -",
)
def inspect(
    captures: Annotated[
        list[str], typer.Argument(metavar="CAPTURE...", help="Reports; - is standard input.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print JSON: an object, or an array.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Show every feature.")] = False,
) -> int:
    """Assess other machines' reports: of cpuprobe --json or of cpuprobe-native."""
    from cpuprobe.assessment import assess

    read = [(path, _read(path)) for path in captures]
    return _show([(path, each, assess(each)) for path, each in read], json, every)


@app.command(epilog="Example: scp $(cpuprobe native) host: && ssh host ./cpuprobe-native > host.json")
def native() -> None:
    """Print the path of the bundled cpuprobe-native, to copy to a machine without Python."""
    from cpuprobe.measure import native_executable

    typer.echo(native_executable())


def _read(path: str) -> Observation:
    from cpuprobe.captures import read_capture

    return read_capture(path)


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


def _console() -> Console:
    from rich.console import Console

    terminal = sys.stdout.isatty()
    from cpuprobe.report.text import WIDTH

    console = Console(highlight=False, markup=False, emoji=False)
    return Console(
        highlight=False,
        markup=False,
        emoji=False,
        width=min(console.width, WIDTH) if terminal else WIDTH,
        no_color=None if terminal else True,
        force_terminal=None,
    )


def _show(
    results: list[tuple[str, Observation, Assessment]], json: bool, every: bool
) -> int:
    """Prints assessments and returns the exit code."""
    if json:
        from cpuprobe.report.document import make_report, to_json

        reports = [make_report(observation, assessed) for _, observation, assessed in results]
        sys.stdout.buffer.write(to_json(reports[0] if len(reports) == 1 else reports))
        sys.stdout.buffer.flush()
    else:
        from cpuprobe.report.text import render_many

        render_many(
            [(name, assessed) for name, _, assessed in results], _console(), every_feature=every
        )
    return int(any(assessed.verdict == "mismatch" for _, _, assessed in results))
