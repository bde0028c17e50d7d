"""The command line: parse, call, render, exit code. No logic lives here.

Exit codes: 0 nothing of severity error, 1 at least one finding of severity error, 2 usage,
3 could not measure, 4 unreadable input. Data goes to standard output, all else to standard error.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import sys
from typing import Any

# A run is over in tens of milliseconds and drops nothing worth collecting; the collector alone
# would take a tenth of that while modules are imported.
gc.disable()

from cpuprobe.cli.output import ReaderGone, complain  # noqa: E402
from cpuprobe.errors import CpuprobeError  # noqa: E402

# The main job in its two plain forms, and whether it is to print JSON: Typer, which takes longer to
# import than all that is measured and judged, has nothing to parse there.
_PLAIN = {(): False, ("--json",): True}
# What only writing meets; it names no file where that is standard output.
_OF_WRITING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})


def main(on_interrupt: Any = None) -> None:
    """The `cpuprobe` command.

    Args:
        on_interrupt: what Ctrl-C is to do from now on. Of the main job, which leaves nothing
            behind, it ends the process without a word, as before.
    """
    if on_interrupt is not None and tuple(sys.argv[1:]) not in _PLAIN:
        signal.signal(signal.SIGINT, on_interrupt)
    for descriptor in range(3):  # one that the caller has closed must not be given to a file
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            continue
        os.open(os.devnull, os.O_RDWR)
    code = run(sys.argv[1:])
    # Everything is written and closed: tearing down a hundred modules would only cost time.
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Runs a command line and returns its exit code; every error is one line on standard error."""
    try:
        if arguments[:1] == ["run"]:
            return _run(arguments)
        json = _PLAIN.get(tuple(arguments))
        if json is None:
            return _parsed(arguments)
        from cpuprobe.cli.probing import probe

        return probe(json)
    except (ReaderGone, BrokenPipeError):
        return 0
    except CpuprobeError as error:
        return _failed(str(error), error.exit_code)
    except ModuleNotFoundError as error:  # a Python that was built without bz2, or a lost library
        return _failed(f"this Python has no module {error.name}, which that needs", 3)
    except OSError as error:
        writing = "standard output" if error.errno in _OF_WRITING else ""
        where = error.filename or writing
        return _failed(f"{where}: {error.strerror}" if where else str(error.strerror), 3)
    except KeyboardInterrupt:
        return _failed("interrupted", 130)


def _run(arguments: list[str]) -> int:
    """`cpuprobe run`, by Typer's parser where its command line is not plain."""
    from cpuprobe.cli import running

    plain = running.plain(arguments[1:])
    return _parsed(arguments) if plain is None else running.run(**plain)


def _parsed(arguments: list[str]) -> int:
    """Runs a command line by Typer's parser."""
    import typer

    from cpuprobe.cli.app import app

    # typer.BadParameter's root: click's own class, or the copy that newer typer versions carry.
    wrong: type[Exception] = next(
        each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException"
    )
    command = typer.main.get_command(app)
    try:
        # Not by `main()`, which makes exit code 1 of a reader that has gone.
        with command.make_context("cpuprobe", list(arguments)) as context:
            result = command.invoke(context)
            if sys.stdout is not None:
                sys.stdout.flush()
    except typer.Exit as error:
        return error.exit_code
    except typer.Abort:
        return _failed("interrupted", 130)
    except wrong as error:
        return _failed(_usage(error), 2)
    return result if isinstance(result, int) else 0


def _usage(error: Any) -> str:
    """What is wrong with a command line, what it should be, and where to read more."""
    words = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    if context is None:
        return str(words)
    if hasattr(error, "param_type"):  # of what is missing
        words += f"; {context.get_usage()}"
    end = "" if words.endswith("?") else ";"
    return f"{words}{end} try `{context.command_path} --help`"


def _failed(message: str, code: int) -> int:
    complain(message)
    return code
