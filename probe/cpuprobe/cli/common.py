"""What the commands share: how they are made, and how assessments are shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from cpuprobe.assessment import Assessment
    from cpuprobe.evidence.observation import Observation

SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 100},
}


def command_app() -> typer.Typer:
    """An app for one command, in a module of its own so that only what is asked for is loaded."""
    return typer.Typer(**SETTINGS)


def console() -> Console:
    """A console that writes at most 100 columns, and plain text where it is no terminal."""
    from rich.console import Console

    from cpuprobe.words import WIDTH

    plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
    if not sys.stdout.isatty():
        return Console(**plain, width=WIDTH, no_color=True)
    return Console(**plain, width=min(Console().width, WIDTH))


@contextmanager
def page() -> Iterator[Console]:
    """A console whose output is written at the end, without Rich's blanks at the ends of rows."""
    where = console()
    with where.capture() as captured:
        yield where
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def show(results: list[tuple[str, Observation, Assessment]], json: bool, every: bool) -> int:
    """Prints assessments and returns the exit code."""
    if json:
        from cpuprobe.report.document import make_report, to_json

        reports = [make_report(observation, assessed) for _, observation, assessed in results]
        sys.stdout.buffer.write(to_json(reports[0] if len(reports) == 1 else reports))
        sys.stdout.buffer.flush()
    else:
        from cpuprobe.report.text import render_many

        with page() as where:
            render_many(
                [(name, assessed) for name, _, assessed in results], where, every_feature=every
            )
    return int(any(assessed.verdict == "mismatch" for _, _, assessed in results))
