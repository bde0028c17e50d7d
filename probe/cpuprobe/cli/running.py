"""`cpuprobe run`: its job, and its plain command lines, which take no option parser.

Nearly every run is one of a program that lives, on a machine whose flags the core alone can tell:
what is known of features and findings, and the option parser, would take longer than all of that.
They are imported where there is more to say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from cpuprobe.cli.output import tell
from cpuprobe.errors import CannotMeasureError, CaptureError, UsageError
from cpuprobe.evidence.installed import installed_version
from cpuprobe.evidence.verdict import native_flags
from cpuprobe.facts.target import TARGET
from cpuprobe.files import read_bounded
from cpuprobe.wasm.attempt import attempts
from cpuprobe.wasm.imports import sentence, unmet
from cpuprobe.wasm.request import Request
from cpuprobe.wasm.setup import Setup
from cpuprobe.wasm.until_done import run_guarded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cpuprobe.assessment import Assessment
    from cpuprobe.wasm.ending import Ending, Result
    from cpuprobe.wasm.record import Record

_MAXIMUM_SIZE = 256 << 20

# The options that `plain` knows: the parameter of `run` that each is, and whether it is given once,
# again and again, or without a value.
_ONCE, _EACH, _SET = range(3)
PLAIN = {
    "--invoke": ("invoke", _ONCE),
    "--env": ("env", _EACH),
    "--dir": ("folder", _EACH),
    "--cache": ("cache_folder", _ONCE),
    "--stub-imports": ("stub_imports", _SET),
    "--retry": ("retry", _SET),
    "--quiet": ("quiet", _SET),
}


def plain(words: Sequence[str]) -> dict[str, Any] | None:
    """The arguments of `run` by name, from a command line that leaves nothing to be decided.

    Args:
        words: what follows `cpuprobe run`.

    Returns:
        None where the option parser has to read it: another option, a word that may be one, a
        value that looks like one, one value too many, no module.
    """
    found: dict[str, Any] = {}
    operands: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            operands += rest
        elif not word.startswith("-") or _is_number(word[1:]):
            operands.append(word)
        elif word not in PLAIN:
            return None
        else:
            name, kind = PLAIN[word]
            if kind == _SET:
                found[name] = True
                continue
            value = next(rest, "-")
            if value.startswith("-") or (kind == _ONCE and name in found):
                return None
            if kind == _ONCE:
                found[name] = value
            else:
                found.setdefault(name, []).append(value)
    if not operands or operands[0].startswith("-"):
        return None
    return {"module": operands[0], "args": operands[1:], **found}


def _is_number(text: str) -> bool:
    return text.isascii() and text.replace(".", "", 1).isdecimal()


def run(
    module: str,
    args: Sequence[str] = (),
    *,
    invoke: str | None = None,
    env: Sequence[str] = (),
    folder: Sequence[str] = (),
    stub_imports: bool = False,
    cache_folder: str | None = None,
    retry: bool = False,
    record: str | None = None,
    flags_from: str | None = None,
    inferred: bool = False,
    wasm_features: str | None = None,
    quiet: bool = False,
) -> int:
    """Runs a module or component and returns the exit code. The parameters are the options.

    Raises:
        CaptureError: the module, or a capture or record, cannot be read.
        CannotMeasureError: wasmtime is missing, or this machine cannot be measured.
        UsageError: the arguments do not go together or do not fit.
    """
    if inferred and flags_from is not None:
        raise UsageError("--inferred and --flags-from: give one of them")
    if record == "-":
        raise UsageError("--record -: standard output is the program's own; name a file")

    def say(sentence: str) -> None:
        if not quiet:
            tell(f"cpuprobe: {sentence}")

    request = Request(
        name=os.path.basename(module),
        module=_linkable(module, stub_imports),
        target="",
        flags={},
        invoke=invoke,
        args=tuple(args),
        env=tuple(_pair(each, "=", "--env") for each in env),
        dirs=tuple(_folder(each) for each in folder),
        wasm_features=_features(wasm_features),
        stub_imports=stub_imports,
        cache=None if cache_folder is None else _prepared(cache_folder),
    )
    here = _Here()
    earlier = _earlier(record)
    setup = _setup(here, flags_from, inferred, say)
    if earlier is not None:
        from cpuprobe.wasm.record import start_from

        setup = start_from(setup, earlier)
    with ExitStack() as folders:
        result = run_guarded(
            attempts(request, spool=retry, between=lambda: _folder_of_this_run(folders)),
            setup,
            tell=say,
            retry=retry,
            unsafe=here.unsafe,
        )
    code = _finish(result.ending, module, result.exit_code, say)
    if record is not None and result.ending.kind in ("done", "exit", "trap"):
        _keep(record, result, here.assessment.wasmtime.version, earlier)
    if result.fell_back and code == 1 and not result.ending.exit_code:
        say("exit code 1: the program's own is 0, but the run fell back")
    return code


class _Here:
    """This machine: its flags told by the core alone, or assessed where that is not enough."""

    def __init__(self) -> None:
        """Nothing is measured yet."""
        self._assessment: Assessment | None = None

    @property
    def assessment(self) -> Assessment:
        """All there is to say. Raises CannotMeasureError."""
        if self._assessment is None:
            from cpuprobe.assessment import assess
            from cpuprobe.cli.common import x86_machine

            self._assessment = assess(x86_machine(None)[1])
        return self._assessment

    def flags(self, say: Callable[[str], None]) -> Mapping[str, bool]:
        """The safe flags of the installed wasmtime; CP501 is said. Raises CannotMeasureError."""
        known = native_flags(installed_version() or "")
        if known is not None:
            return known
        for finding in self.assessment.findings:
            if finding.code == "CP501":
                say(f"note: {finding.title}; these flags stay off (CP501)")
        return self.assessment.cranelift

    def unsafe(self) -> frozenset[str]:
        """The features that are not safe. Raises CannotMeasureError."""
        return frozenset(name for name, each in self.assessment.features.items() if not each.safe)


def _folder_of_this_run(folders: ExitStack) -> str | None:
    """A private folder, gone at the end; None where none can be made."""
    import tempfile

    with suppress(OSError):
        made = tempfile.TemporaryDirectory(prefix="cpuprobe-", ignore_cleanup_errors=True)
        return folders.enter_context(made)
    return None


def _finish(ending: Ending, module: str, code: int, say: Callable[[str], None]) -> int:
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
        from cpuprobe.wasm.children import word_of

        tell(f"cpuprobe: the program was ended by {word_of(ending.signal)}")
    return code


def _setup(
    here: _Here, flags_from: str | None, inferred: bool, say: Callable[[str], None]
) -> Setup:
    if inferred:
        from cpuprobe.wasm.introspect import flags_by_fork

        return Setup(TARGET, flags_by_fork())
    if flags_from is None:
        return Setup(TARGET, here.flags(say))
    import msgspec

    from cpuprobe.assessment import assess
    from cpuprobe.cli.common import x86_machine
    from cpuprobe.evidence.observation import Wasmtime

    # The names of the flags are those that are used here, also of a release that no table knows.
    ours = Wasmtime(here.assessment.wasmtime.version, tuple(here.assessment.cranelift))
    there = msgspec.structs.replace(x86_machine(flags_from)[1], wasmtime=ours)
    return Setup(TARGET, assess(there).cranelift)


def read_module(path: str) -> bytes:
    """The bytes of a module or record; CaptureError if it cannot be read or is too large."""
    return read_bounded(path, _MAXIMUM_SIZE)[1]


def _linkable(path: str, stub_imports: bool) -> bytes:
    """The module; CaptureError also if it needs what it will not be given."""
    content = read_module(path)
    missing = unmet(content)
    if missing is not None and not (stub_imports and missing.stubs):
        raise CaptureError(f"{path}: {sentence(missing)}")
    return content


def _prepared(folder: str) -> str:
    from cpuprobe.wasm.cache import prepare

    return prepare(folder)


def _pair(text: str, separator: str, option: str) -> tuple[str, str]:
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


def _keep(path: str, result: Result, wasmtime: str, earlier: Record | None) -> None:
    from cpuprobe.cli.output import write_page
    from cpuprobe.wasm.record import to_record

    write_page(to_record(result.setup, result.changes, wasmtime, earlier).decode(), path)


def _earlier(path: str | None) -> Record | None:
    if path is None or not os.path.exists(path):
        return None
    from cpuprobe.wasm.record import read_record

    return read_record(read_module(path), path)
