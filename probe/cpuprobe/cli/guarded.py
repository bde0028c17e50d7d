"""`cpuprobe run`."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cpuprobe.cli.common import command_app, epilog, machine, on_option
from cpuprobe.cli.output import tell, write_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cpuprobe.assessment import Assessment
    from cpuprobe.wasm.guarded_run import Ending
    from cpuprobe.wasm.setup import Record, Setup

app = command_app()

_MAXIMUM_SIZE = 256 << 20


@app.command(
    short_help="Run a module under guard, with a way out where it dies.",
    # What is no option of ours is the program's: -2 is a number.
    context_settings={"ignore_unknown_options": True},
    epilog=epilog(
        "cpuprobe run prog.wasm",
        "cpuprobe run sums.wat --invoke add 2 -3",
        "cpuprobe run component.wasm --invoke my:pkg/sums#add 2 3",
        "cpuprobe run --dir data::/data --env LANG=C --record prog.json prog.wasm -- --verbose",
        zero="and any other: the program's own (134 for a wasm trap)",
        one="also where the program's own is 0, but the run fell back",
        four="also where the module cannot be read; 128 + signal if it died and was not run again",
    ),
)
def run(
    module: Annotated[
        str, typer.Argument(metavar="MODULE", help="A module or component, .wasm or .wat.")
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
    from cpuprobe.assessment import assess
    from cpuprobe.errors import CaptureError, UsageError
    from cpuprobe.wasm.cache import prepare
    from cpuprobe.wasm.guard import attempts
    from cpuprobe.wasm.guarded_run import run_guarded
    from cpuprobe.wasm.imports import sentence, unmet
    from cpuprobe.wasm.request import Request
    from cpuprobe.wasm.setup import start_from, to_record

    if inferred and flags_from is not None:
        raise UsageError("--inferred and --flags-from: give one of them")
    if record == "-":
        raise UsageError("--record -: standard output is the program's own; name a file")

    def say(sentence: str) -> None:
        if not quiet:
            tell(f"cpuprobe: {sentence}")

    request = Request(
        name=os.path.basename(module),
        module=read_module(module),
        target="",
        flags={},
        invoke=invoke,
        args=tuple(args or ()),
        env=tuple(_pair(each, "=", "--env") for each in env or ()),
        dirs=tuple(_folder(each) for each in folder or ()),
        wasm_features=_features(wasm_features),
        stub_imports=stub_imports,
        cache=None if cache_folder is None else prepare(cache_folder),
    )
    missing = unmet(request.module)
    if missing is not None and not (stub_imports and missing.stubs):
        raise CaptureError(f"{module}: {sentence(missing)}")
    here = assess(machine(None)[1])
    earlier = _earlier(record)
    setup = _setup(here, flags_from, inferred)
    if not inferred and flags_from is None:
        for finding in here.findings:
            if finding.code == "CP501":
                say(f"note: {finding.title}; these flags stay off (CP501)")
    if earlier is not None:
        setup = start_from(setup, earlier)
    with _folder_of_this_run() as between:
        result = run_guarded(
            attempts(request, spool=retry, between=between),
            setup,
            tell=say,
            retry=retry,
            unsafe=frozenset(name for name, each in here.features.items() if not each.safe),
        )
    code = _finish(result.ending, module, result.exit_code, say)
    if record is not None and result.ending.kind in ("done", "exit", "trap"):
        kept = to_record(result.setup, result.changes, here.wasmtime.version, earlier)
        write_page(kept.decode(), record)
    if result.fell_back and code == 1 and not result.ending.exit_code:
        say("exit code 1: the program's own is 0, but the run fell back")
    return code


@contextmanager
def _folder_of_this_run() -> Iterator[str | None]:
    """A private folder, gone at the end; None where none can be made."""
    import tempfile

    try:
        folder = tempfile.TemporaryDirectory(prefix="cpuprobe-", ignore_cleanup_errors=True)
    except OSError:
        yield None
        return
    with folder as path:
        yield path


def _finish(ending: Ending, module: str, code: int, say: Callable[[str], None]) -> int:
    from cpuprobe.errors import CannotMeasureError, CaptureError, UsageError
    from cpuprobe.wasm.children import word_of

    if ending.kind == "module":
        raise CaptureError(f"{module}: {ending.message}")
    if ending.kind == "usage":
        raise UsageError(ending.message)
    if ending.kind == "refused":
        raise CannotMeasureError(f"wasmtime refuses these flags here: {ending.message}")
    if ending.kind == "trap":
        name = os.path.basename(module)
        tell(f"Error: failed to run main module `{name}`", "", "Caused by:")
        tell(*(f"    {line}" for line in ending.message.split("\n")))
    elif ending.kind == "done" and ending.message:
        say(f"note: {ending.message}; give one of them by --invoke")
    elif ending.kind == "signal" and not ending.crashed:
        tell(f"cpuprobe: the program was ended by {word_of(ending.signal)}")
    return code


def _setup(here: Assessment, flags_from: str | None, inferred: bool) -> Setup:
    from cpuprobe.facts.wasmtime import TARGET
    from cpuprobe.wasm.setup import Setup

    if inferred:
        from cpuprobe.wasm.guard import inferred_flags

        return Setup(TARGET, inferred_flags())
    if flags_from is None:
        return Setup(TARGET, here.cranelift)
    import msgspec

    from cpuprobe.assessment import assess
    from cpuprobe.evidence.observation import Wasmtime

    # The names of the flags are those that are used here, also of a release that no table knows.
    ours = Wasmtime(here.wasmtime.version, tuple(here.cranelift))
    there = msgspec.structs.replace(machine(flags_from)[1], wasmtime=ours)
    return Setup(TARGET, assess(there).cranelift)


def read_module(path: str) -> bytes:
    """The bytes of a module or record; CaptureError if it cannot be read or is too large."""
    from cpuprobe.files import read_bounded

    return read_bounded(path, _MAXIMUM_SIZE)[1]


def _pair(text: str, separator: str, option: str) -> tuple[str, str]:
    from cpuprobe.errors import UsageError

    name, found, value = text.partition(separator)
    if not name or not found or "\0" in text:
        raise UsageError(f"{option} {text}: should be NAME{separator}VALUE")
    return name, value


def _folder(text: str) -> tuple[str, str]:
    host, found, guest = text.partition("::")
    return host, guest if found else host


def _features(text: str | None) -> dict[str, bool]:
    names = [each.strip() for each in (text or "").split(",")]
    return {each.lstrip("-").replace("-", "_"): not each.startswith("-") for each in names if each}


def _earlier(path: str | None) -> Record | None:
    from cpuprobe.wasm.setup import read_record

    if path is None or not os.path.exists(path):
        return None
    return read_record(read_module(path), path)
