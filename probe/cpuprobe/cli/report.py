"""`cpuprobe report`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from cpuprobe.cli.common import command_app, epilog, machine, on_option
from cpuprobe.cli.output import note, on_terminal, write_page
from cpuprobe.words import visible_json

if TYPE_CHECKING:
    from cpuprobe.assessment import Assessment
    from cpuprobe.evidence.observation import Observation
    from cpuprobe.report.subject import ReportedMachine
    from cpuprobe.wasm.installed import Inference, Introspection

FORMATS = ("markdown", "json", "html")
_ENDINGS = {".md": "markdown", ".json": "json", ".html": "html", ".htm": "html"}
_PATIENCE = 20.0  # seconds for wasmtime, which needs a fraction of one

app = command_app()


@app.command(
    short_help="Write a bug report to paste or to send.",
    epilog=epilog(
        "cpuprobe report",
        "cpuprobe report -o report.html",
        "cpuprobe report --on colleague.json --on mine.json -o both.html",
        zero="written, whatever it says",
        three="could not measure or write",
    ),
)
def report(
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="markdown, json or html. Default: by FILE's name, else markdown.",
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Write to FILE.")
    ] = None,
    captures: Annotated[list[str] | None, on_option("--from", more=" Repeatable.")] = None,
    root: Annotated[
        str, typer.Option(metavar="DIR", help="Take /proc and /sys from below DIR.")
    ] = "/",
) -> None:
    """Write a bug report: Markdown to paste into an issue, a web page, or JSON.

    Without --on it measures this machine, and asks wasmtime, py-cpuinfo and archspec too where
    they are installed.
    """
    from cpuprobe.errors import UsageError

    if form is None:
        form = _ENDINGS.get(os.path.splitext(output or "")[1].lower(), "markdown")
    if form not in FORMATS:
        raise UsageError(f"--format {form}: no such format; there are {', '.join(FORMATS)}")
    if captures and root != "/":
        raise UsageError("--root is about this machine, --on about another: give one of them")
    subjects = [_capture(path) for path in captures] if captures else [_here(root, form)]
    write_page(_rendered(subjects, form), output)
    if on_terminal():
        note(_next(form, output))


def _next(form: str, output: str | None) -> str:
    """What a person does with it."""
    if output is None:
        return f"`-o report.{'md' if form == 'markdown' else form}` writes this into a file"
    if form == "markdown":
        return f"{output} is written: paste it into the issue, or attach it"
    return f"{output} is written; `cpuprobe inspect` reads it"


def _rendered(subjects: list[ReportedMachine], form: str) -> str:
    if form == "html":
        from cpuprobe.report.html import render_html

        if len({each.assessment.isa for each in subjects}) > 1:
            from cpuprobe.errors import UsageError

            raise UsageError("one page compares machines of one instruction set")
        return render_html(subjects)
    if form == "markdown":
        from cpuprobe.report.markdown import render_markdown

        return render_markdown(subjects)
    from cpuprobe.report.document import make_report, to_json

    reports = [
        make_report(
            each.observation,
            each.assessment,
            each.introspection,
            each.inference,
        )
        for each in subjects
    ]
    return visible_json(to_json(reports[0] if len(reports) == 1 else reports)).decode()


def _capture(path: str) -> ReportedMachine:
    from cpuprobe.assessment import assess
    from cpuprobe.evidence.witnesses import surroundings_of_capture
    from cpuprobe.report.subject import make_subject

    name, observation = machine(path)
    around = surroundings_of_capture(observation)
    return make_subject(name, observation, assess(observation), around)


def _here(root: str, form: str) -> ReportedMachine:
    """This machine. The other witnesses know nothing of --root.

    The JSON has a place for wasmtime's answers, not for those of py-cpuinfo and archspec.
    """
    from cpuprobe.assessment import assess
    from cpuprobe.evidence.witnesses import (
        PyCpuinfo,
        surroundings_here,
        surroundings_of_capture,
    )
    from cpuprobe.report.subject import make_subject

    if root != "/":
        name, observation = machine(None, root)
        around = surroundings_of_capture(observation, root)
        return make_subject(name, observation, assess(observation), around)
    witness = None if form == "json" else PyCpuinfo()
    try:
        name, observation = machine(None)
        observation, assessment, introspection, inference = _with_wasmtime(observation)
        if witness is None:
            around = surroundings_of_capture(observation)
        else:
            around = surroundings_here(observation, witness)
    finally:
        if witness is not None:
            witness.stop()
    return make_subject(name, observation, assessment, around, introspection, inference)


def _with_wasmtime(
    observation: Observation,
) -> tuple[Observation, Assessment, Introspection, Inference | None]:
    """What the installed wasmtime says, beside the assessment for the flags that it knows."""
    import msgspec

    from cpuprobe.assessment import assess_with_flags
    from cpuprobe.wasm.installed import compare_inference
    from cpuprobe.wasm.introspect import introspect

    asked = introspect(_PATIENCE)
    if asked.inferred is not None and observation.wasmtime is not None:
        found = msgspec.structs.replace(observation.wasmtime, flags=asked.known)
        observation = msgspec.structs.replace(observation, wasmtime=found)
    assessment, flags = assess_with_flags(observation)
    compared = None if asked.inferred is None else compare_inference(flags, asked.inferred)
    return observation, assessment, asked, compared
