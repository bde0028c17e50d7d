"""`cpuprobe fleet` and `cpuprobe fleet ingest`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cpuprobe.cli.common import command_app, epilog
from cpuprobe.cli.fleet_asked import flag_set, percentages, profiles_of, refuse_foreign
from cpuprobe.cli.output import note, print_result, progress, tell, width, write_page

if TYPE_CHECKING:
    from cpuprobe.facts.profiles import Profile
    from cpuprobe.fleet.captures import Feedback, Reads
    from cpuprobe.fleet.model import Fleet, Skipped
    from cpuprobe.fleet.sources import Reading
    from cpuprobe.fleet.tally import Tally
    from cpuprobe.report.layout import Line

NAMED = 5
"""How many captures that could not be read are named on standard error."""

# What a terminal shows unasked; JSON and HTML have all kinds.
_SHOWN_KINDS = frozenset({"distribution", "policy", "user"})

app = command_app()


@app.command(
    short_help="Many machines: which flags and profiles they can use.",
    epilog=epilog(
        "cpuprobe fleet reports/",
        "cpuprobe fleet 'logs/*.jsonl.gz' fleet.tar.gz --html fleet.html",
        "cpuprobe fleet ingest reports/ -o tables",
        "cpuprobe fleet tables --backend pyspark --json",
        "cpuprobe fleet --reference",
        zero="no finding of severity error",
        one="a machine has one",
        three="a library or backend is missing or failed",
        four="nothing could be read",
    ),
)
def fleet(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ingest] PATH...",
            help="Folders, patterns, tar archives, JSON lines, Parquet, captures of any kind, "
            "tables of `fleet ingest`; - is stdin. A path called ingest is given as ./ingest.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="FOLDER", help="With ingest: the tables to make."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a page with pictures; - is stdout.")
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|URL",
            help="duckdb (default), pyspark, spark://HOST:PORT, or a URL for Ibis.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="CSV: name of a capture or CPU model, and what one counts."
        ),
    ] = None,
    wasmtime: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Whose flags. Default: the installed one's."),
    ] = None,
    reference: Annotated[
        bool,
        typer.Option(
            "--reference",
            help="Ask a table of machines: PATH, or 147,826 Linux machines, up to 2022.",
        ),
    ] = False,
    export: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the counts as such a table; nothing private."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="End at the first capture that cannot be read.")
    ] = False,
    flags: Annotated[
        list[str] | None,
        typer.Option(metavar="LIST", help="Count this set: has_avx2,has_fma. Repeatable."),
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(metavar="PROFILE", help="Count this profile too. Repeatable."),
    ] = None,
    coverage: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Percentages to cover. Default: 99.9,99,95."),
    ] = None,
    executed_only: Annotated[
        bool,
        typer.Option("--executed-only", help="Leave out machines where nothing was executed."),
    ] = False,
    top: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=10000, help="Models, kernels shown. Default: 20."),
    ] = None,
) -> int:
    """Say how many machines of a fleet each psABI level, profile and set of flags covers.

    `cpuprobe fleet ingest PATH... -o FOLDER` reads captures once and keeps what is needed of them
    in Parquet, which `cpuprobe fleet FOLDER` answers from at once.
    """
    from cpuprobe.errors import UsageError
    from cpuprobe.fleet.answer import fleet_of, reference_of
    from cpuprobe.fleet.captures import Reads
    from cpuprobe.fleet.summary import COVERAGES, Asked
    from cpuprobe.fleet.weights import read_weights

    reads = Reads(
        wasmtime=wasmtime,
        weights=None if weights is None else read_weights(weights),
        processes=len(os.sched_getaffinity(0)),
        strict=strict,
    )
    paths = paths or []
    if paths[:1] == ["ingest"]:
        asked = (html, backend, flags, profile, coverage, executed_only or None, top, export)
        if any(each is not None for each in asked):
            raise UsageError("fleet ingest takes -o, --weights, --wasmtime, --strict and --json")
        return _ingest(paths[1:], output, reads, json)
    if output is not None:
        raise UsageError("-o FOLDER belongs to fleet ingest; a page is written with --html FILE")
    if json and html == "-":
        raise UsageError("--json and --html -: only one of them can go to standard output")
    named, profiles = profiles_of(profile or ())
    told = Asked(
        profiles=profiles,
        flag_sets=tuple(flag_set(each) for each in flags or ()),
        wanted=COVERAGES if coverage is None else tuple(percentages(coverage)),
        top=top or 20,
    )
    if reference:
        if len(paths) > 1 or any((backend, weights, export, strict, executed_only)):
            raise UsageError("--reference takes one table at most, and options on what is told")
        found = reference_of(paths[0] if paths else None, wasmtime, told)
        refuse_foreign(named, found)
        _show(found, json, html, named, top)
        return int(found.mismatched.machines > 0)
    if not paths:
        raise UsageError("cpuprobe fleet PATH...: say what to read, or --reference")
    with _feedback() as feedback:
        if export is not None:
            feedback.counted = lambda tally: _export(tally, export)
        found = fleet_of(
            paths,
            reads,
            feedback,
            told,
            backend=backend or "duckdb",
            executed_only=executed_only,
        )
    refuse_foreign(named, found)
    _tell_unmet(reads)
    _show(found, json, html, named, top)
    if export is not None and found.others:
        note(f"--export: the table is of x86-64: without those of {', '.join(found.others)}")
    wrong = any(each.mismatched.machines for each in (found, *found.others.values()))
    return int(wrong or any(each.mismatched for each in found.unknown))


def _export(tally: Tally, path: str) -> None:
    from cpuprobe.errors import CaptureError
    from cpuprobe.fleet.reference import table_of

    if not tally:
        raise CaptureError("--export: the table is of x86-64, and no such machine is counted")
    write_page("".join(f"{line}\n" for line in table_of(tally)), path)


def _ingest(paths: Sequence[str], output: str | None, reads: Reads, json: bool) -> int:
    from cpuprobe.errors import UsageError
    from cpuprobe.fleet.answer import make_tables

    if not paths or output is None:
        raise UsageError("cpuprobe fleet ingest PATH... -o FOLDER: say what to read and to make")
    with _feedback() as feedback:
        manifest = make_tables(paths, output, reads, feedback)
    _tell_unmet(reads)
    told = f"{manifest.machines:,} machines, {manifest.unread:,} captures not read"
    print_result(manifest, json, lambda: f"{told}, flags of wasmtime {manifest.wasmtime}\n")
    return 0


def _show(
    found: Fleet, json: bool, html: str | None, named: Mapping[str, Profile], top: int | None
) -> None:
    if html is not None:
        from cpuprobe.errors import CaptureError
        from cpuprobe.report.fleet_html import to_html
        from cpuprobe.report.fleet_isas import x86_64_alone

        if not found.total.machines:
            raise CaptureError("--html: the page tells of x86-64, and no such machine is there")
        write_page(to_html(x86_64_alone(found)), html)
    if json or html != "-":
        print_result(found, json, lambda: _lines(found, named, top))


def _lines(found: Fleet, named: Mapping[str, Profile], top: int | None) -> Iterator[Line]:
    import msgspec

    from cpuprobe.report.fleet_text import TOP, lines

    def shown(one: Fleet) -> Fleet:
        told = (each for each in one.profiles if each.kind in _SHOWN_KINDS or each.name in named)
        return msgspec.structs.replace(one, profiles=tuple(told))

    isas = {name: shown(each) for name, each in found.others.items()}
    return lines(msgspec.structs.replace(shown(found), isas=isas), width(), top=top or TOP)


def _tell_unmet(reads: Reads) -> None:
    unmet = [] if reads.weights is None else reads.weights.unmet
    if unmet:
        more = f" and {len(unmet) - NAMED} more" if len(unmet) > NAMED else ""
        named = ", ".join(repr(each[:60]) for each in unmet[:NAMED])
        note(f"--weights: no capture is called {named}{more}")


@contextmanager
def _feedback() -> Iterator[Feedback]:
    """How far it is: captures read, how fast; and at the end what could not be read."""
    import time

    from cpuprobe.fleet.captures import Feedback

    skipped: dict[str, list[Skipped]] = {}
    counts: dict[str, int] = {}
    began = time.monotonic()
    with progress() as bar:
        feedback = Feedback()

        def start(reading: Reading) -> None:
            total = reading.total() or 0

            def read(machines: int) -> None:
                rate = machines / max(time.monotonic() - began, 0.1)
                done = reading.done if total else 0
                bar("reading", done, total, f"{machines:,} captures, {rate:,.0f}/s")

            feedback.progress = read

        def complain(one: Skipped) -> None:
            counts[one.kind] = counts.get(one.kind, 0) + 1
            if counts[one.kind] <= NAMED:
                skipped.setdefault(one.kind, []).append(one)

        feedback.start, feedback.complain = start, complain
        yield feedback
    if skipped:
        from cpuprobe.report.fleet_words import skipped_line

        for kind, named in skipped.items():
            tell(f"cpuprobe: skipped: {skipped_line(kind, counts[kind], named)}")
