"""What the commands share: how they are made, which machine they are about, what they show."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from cpuprobe.cli.output import print_result, width
from cpuprobe.words import HERE, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    import typer

    from cpuprobe.assessment import Assessment
    from cpuprobe.evidence.observation import Observation
    from cpuprobe.report.layout import Line

SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 100},
}


def command_app() -> typer.Typer:
    """An app for one command, in a module of its own so that only what is asked for is loaded."""
    import typer

    return typer.Typer(**SETTINGS)


def epilog(
    *examples: str,
    zero: str,
    one: str = "",
    two: str = "usage",
    three: str = "could not measure",
    four: str = "unreadable input",
) -> str:
    """The end of a command's help: examples, one a line, and what each exit code says."""
    codes = enumerate((zero, one, two, three, four))
    shown = "".join(f"\n  {example}" for example in examples)
    listed = "".join(f"\n  {code}  {meaning}" for code, meaning in codes if meaning)
    # The help's formatter leaves a paragraph as it is that begins with a backspace.
    return f"\b\nExamples:{shown}\n\n\b\nExit codes:{listed}"


def is_piped() -> bool:
    """Whether anything comes on standard input, and that is no terminal."""
    import io
    import sys

    if sys.stdin is None or sys.stdin.isatty():
        return False
    try:
        return bool(cast(io.BufferedReader, sys.stdin.buffer).peek(1))
    except OSError:  # a folder, say: who reads it tells
        return True


def on_option(*others: str, more: str = "") -> Any:
    """`--on CAPTURE`: another machine than this one.

    Args:
        others: names that the command also had for it.
        more: ends the help.
    """
    import typer

    text = f"This capture, not this machine; - is standard input.{more}"
    return typer.Option("--on", *others, metavar="CAPTURE", help=text)


def no_option(context: Any, module: str | None) -> str | None:
    """The module of a command whose further words are a program's own.

    What is no option of the command stands there too where it comes before the module.

    Args:
        context: Typer's; its command has the options.
        module: the word, None where there is none.

    Raises:
        UsageError: it is an option, and no such file is there.
    """
    from cpuprobe.errors import UsageError, did_you_mean

    if module is None or module == "-" or module[:1] != "-" or os.path.lexists(module):
        return module
    word = visible(module.partition("=")[0])
    known = [each for parameter in context.command.params for each in parameter.opts]
    near = did_you_mean(word, [each for each in known if each.startswith("-")])
    raise UsageError(
        f"no such option: {word}{near or ';'} try `cpuprobe {context.info_name} --help`"
    )


def machine(on: str | None, root: str = "/") -> tuple[str, Observation]:
    """What to call a machine, and what is known of it.

    Args:
        on: a capture, whose name is told without its folder, which says more of the user than of
            the machine; None: this machine is measured.
        root: where /proc and /sys of this machine lie.

    Raises:
        CaptureError: the capture cannot be read.
        CannotMeasureError: this machine cannot be measured.
    """
    if on is None:
        from cpuprobe.evidence.measure import observe

        return HERE, observe(root=root)
    from cpuprobe.evidence.machines import read_capture

    return name_of(on), read_capture(on)


def x86_machine(on: str | None) -> tuple[str, Observation]:
    """The same, for what compiles for x86-64 alone.

    Raises:
        UsageError: that machine is of another instruction set.
        CaptureError, CannotMeasureError: as `machine` does.
    """
    from cpuprobe.errors import UsageError

    name, observation = machine(on)
    if observation.isa == "aarch64":
        raise UsageError(f"{name} is of aarch64, and this command compiles for x86-64 alone")
    return name, observation


def name_of(capture: str) -> str:
    """What to call a capture."""
    return "standard input" if capture == "-" else visible(os.path.basename(capture))


def share_option() -> Any:
    """`--share`: the code on a terminal too."""
    import typer

    text = "End with the code that inspect reads; always so where the output is no terminal."
    return typer.Option("--share", help=text)


def _screens(
    results: list[tuple[str, Observation, Assessment]], every: bool, share: bool
) -> Iterator[Line]:
    """Several assessments, each under the name of its capture."""
    from cpuprobe.report.layout import Styled
    from cpuprobe.report.screen import code_lines, screen
    from cpuprobe.report.text import lines

    for number, (name, observation, assessed) in enumerate(results):
        if number:
            yield ""
        if len(results) > 1:
            yield (Styled(f"== {name}", "bold"),)
        code = ""
        if share:
            from cpuprobe.evidence.share import pack

            code = pack(observation)
        if every:
            yield from lines(assessed, width())
            yield from code_lines(code, width())
        else:
            on = "" if name == HERE else _quoted(name, share)
            yield from screen(assessed, observation.ran_on_each, width(), on, code)


def _quoted(name: str, share: bool) -> str:
    """What names a machine in a command; without its folder in a text that others may see."""
    import shlex

    if not os.path.exists(name):
        return "FILE"  # standard input, and one of several machines in a file, have no name
    shown = os.path.basename(name) if share and os.path.isabs(name) else name
    return shlex.quote(visible(shown))


def show(
    results: list[tuple[str, Observation, Assessment]],
    json: bool,
    every: bool,
    share: bool = False,
) -> int:
    """Prints assessments and returns the exit code; `share`: see `share_option`."""
    if json:
        from cpuprobe.report.document import make_report, to_json

        reports = [make_report(observation, assessed) for _, observation, assessed in results]
        print_result(to_json(reports[0] if len(reports) == 1 else reports), True, str)
    else:
        from cpuprobe.cli.output import on_terminal, print_lines

        print_lines(_screens(results, every, share or not on_terminal()))
    return int(any(assessed.verdict == "mismatch" for _, _, assessed in results))
