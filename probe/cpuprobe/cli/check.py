"""`cpuprobe check`."""

from __future__ import annotations

import os
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cpuprobe.cli.common import command_app, epilog
from cpuprobe.cli.output import complain, note, print_result, print_text, write_page
from cpuprobe.errors import CaptureError, UsageError
from cpuprobe.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpuprobe.check.against import HostCapabilities
    from cpuprobe.check.allow import AllowList
    from cpuprobe.check.gate import Gate
    from cpuprobe.check.judge import Fit
    from cpuprobe.check.many import Found


class Format(str, Enum):
    """The form of the answer."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"
    NFD = "nfd-image"


app = command_app()

_Files = Annotated[
    list[str],
    typer.Argument(metavar="FILE...", help="Programs, libraries, .wasm, archives, folders."),
]
_Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        "--on",
        metavar="PROFILE|CAPTURE",
        help="A profile (x86-64-v3, rhel-9, alderlake-n) or a capture; - is stdin.",
    ),
]
_Allow = Annotated[
    str | None,
    typer.Option("--allow", metavar="FILE", help="What may stand beyond the target, and why."),
]
_WriteAllow = Annotated[
    str | None,
    typer.Option(
        "--write-allow", metavar="FILE", help="Write what fails now as such a list; reasons empty."
    ),
]
_Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="NAME",
        help="Leave out what is called so, in folders and archives too; * is anything.",
    ),
]
_Diff = Annotated[
    str | None,
    typer.Option("--diff", metavar="OLD", help="Say what came and went since this file or folder."),
]
_FailOn = Annotated[
    str,
    typer.Option(
        "--fail-on",
        metavar="WORDS",
        help="What makes the exit code 1: never, dies, unguarded or guarded, each of which "
        "includes the one before; and unread, stale. With commas.",
    ),
]
_Form = Annotated[
    Format | None,
    typer.Option("--format", help="For people, programs or annotations. Default: text."),
]
_Json = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
_Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print only what makes the exit code 1.")
]


@app.command(
    short_help="Say whether files will run on this machine, or on another.",
    epilog=epilog(
        "cpuprobe check app.wasm app.cwasm",
        "cpuprobe check /usr/lib --against x86-64-v2",
        "cpuprobe check build/ --on fleet-host.json --json",
        "cpuprobe check dist/ --against x86-64-v2 --allow allow.toml -q",
        "cpuprobe check dist/ --against x86-64-v2 --diff last/ --format github",
        "cpuprobe check dist/ --against x86-64-v2 --write-allow allow.toml",
        "cpuprobe check dist/ --against x86-64-v2 --exclude tests/data",
        "cpuprobe check image.tar --against x86-64-v1 --format nfd-image > image.yaml",
        zero="all fit",
        one="something does not (--fail-on), or came (--diff)",
        four="something could not be read",
    ),
)
def check(
    files: _Files,
    against: _Against = None,
    allow: _Allow = None,
    write_allow: _WriteAllow = None,
    exclude: _Exclude = None,
    diff: _Diff = None,
    fail_on: _FailOn = "unguarded",
    form: _Form = None,
    json: _Json = False,
    quiet: _Quiet = False,
) -> int:
    """Say whether files will run on a machine: this one, or another with --against.

    A file may contain instructions that it never executes there: GUARDED if it chooses at run time,
    UNGUARDED if nothing in it does, with the evidence.
    """
    import gc

    shown = _shown(form, json)
    if "-" in files and not os.path.lexists("-"):
        raise UsageError("check reads files by their names, and not standard input")
    excluded = _names(exclude)
    from cpuprobe.cli.checking import checked, target

    judged = target(against)
    if shown is Format.NFD and judged.isa != "x86-64":
        raise UsageError(f"--format nfd-image is of x86-64, and {judged.name} is of {judged.isa}")
    # Millions of small objects, none in a cycle (a test holds that): to look costs a sixth more.
    gc.disable()
    from cpuprobe.check.allow import read_list
    from cpuprobe.check.gate import exit_code, gate, nothing_read
    from cpuprobe.check.variants import settle
    from cpuprobe.facts.isa import facts_named
    from cpuprobe.report.fit import document, kinds

    if diff is not None:
        _check_diff(diff, write_allow, fail_on, shown)
    failing = gate(fail_on)
    listed = None if allow is None else read_list(allow, facts_named(judged.isa))
    fresh = None if write_allow is None else _fresh(write_allow)
    listing = any(each is not None for each in (allow, fresh, diff))
    found, fits = checked(files, judged, listing, excluded)
    _note_idle(excluded, found)
    fits, variants = settle(fits, judged, found.launchers)
    if listed is not None:
        fits = [listed.apply(fit) for fit in fits]
    stale = () if listed is None else listed.stale()
    if diff is not None:
        for each in stale:
            note(f"{allow}: row {each.row} is stale: {each.what or each.file}")
        return _compared(files, found, fits, diff, judged, shown, quiet, fail_on, excluded)
    report = document(judged.name, fits, found.unread, failing, stale, allow or "", variants)
    _print(report, shown, quiet)
    _complain_of(fits)
    if nothing_read(fits):
        complain(f"nothing was read: {kinds(found.unread) or 'no file'}")
    if fresh is not None:
        return _write(fresh, fits, failing, listed, judged)
    return exit_code(failing, fits, stale)


def _check_diff(old: str, write_allow: str | None, fail_on: str, form: Format) -> None:
    """Refuses what does not go with --diff, before the new build is read."""
    if write_allow is not None or fail_on not in ("unguarded", "never"):
        raise UsageError("--diff fails on what came: of --fail-on it takes never, no --write-allow")
    if form is Format.NFD:
        raise UsageError("--format nfd-image says what one build needs: leave out --diff")
    if not os.path.exists(old):
        raise CaptureError(f"--diff {old}: no such file or folder")


def _shown(form: Format | None, json: bool) -> Format:
    if json and form not in (None, Format.JSON):
        raise UsageError(f"--json and --format {form.value}: give one of them")
    return Format.JSON if json else form or Format.TEXT


def _names(exclude: list[str] | None) -> list[str]:
    if any(not each.strip("/!") for each in exclude or ()):
        raise UsageError("--exclude: an empty name; give a file, a folder, or *.gz")
    return exclude or []


def _note_idle(excluded: Sequence[str], found: Found) -> None:
    from cpuprobe.check.patterns import excluded_by

    for pattern in excluded:
        if not found.unread[excluded_by(pattern)]:
            note(f"--exclude {pattern}: it left nothing out")


def _print(report: dict[str, Any], form: Format, quiet: bool) -> None:
    from cpuprobe.report import builds_text, fit

    if form is Format.SARIF:
        from cpuprobe.report.sarif import to_sarif

        print_result(to_sarif(report, quiet), True, str)
        return
    if form is Format.NFD:
        from cpuprobe.emit.builds import image_compatibility

        needs = {each for file in report["files"] if not file["fits"] for each in file["missing"]}
        print_text(image_compatibility(needs, "what cpuprobe check found no choice before"))
        return
    if form is Format.GITHUB:
        from cpuprobe.report.github import to_github

        print_text(to_github(report, quiet), commands=True)
        return
    to_text = builds_text.to_text if report["schema"] == builds_text.SCHEMA else fit.to_text
    print_result(report, form is Format.JSON, lambda: to_text(report, quiet))


def _complain_of(fits: list[Fit]) -> None:
    for fit in fits:
        if fit.error is not None:
            complain(f"{fit.path}: {fit.error}")


def _compared(
    files: list[str],
    found: Found,
    fits: list[Fit],
    old: str,
    judged: HostCapabilities,
    form: Format,
    quiet: bool,
    fail_on: str,
    excluded: Sequence[str],
) -> int:
    """Prints what came and went since another build; the exit code."""
    from cpuprobe.check.builds import compare
    from cpuprobe.check.gate import nothing_read
    from cpuprobe.check.variants import settle
    from cpuprobe.cli.checking import checked
    from cpuprobe.report.builds_text import document

    once, unsettled = checked([old], judged, True, excluded)
    before, _ = settle(unsettled, judged, once.launchers)
    report = document(judged.name, compare(fits, before, files, [old]), found.unread)
    _print(report, form, quiet)
    _complain_of(fits + before)
    for what, read in ((", ".join(files), fits), (old, before)):
        if nothing_read(read):
            complain(f"{what}: nothing was read")
    if (
        nothing_read(fits)
        or nothing_read(before)
        or any(fit.error is not None for fit in fits + before)
    ):
        return 4
    return int(fail_on != "never" and any(file["fails"] for file in report["files"]))


def _fresh(path: str) -> str:
    if os.path.lexists(path):
        raise UsageError(f"--write-allow {path}: it exists; give another name, or remove it")
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise UsageError(f"--write-allow {path}: there is no such folder")
    return path


def _write(
    path: str,
    fits: list[Fit],
    failing: Gate,
    listed: AllowList | None,
    judged: HostCapabilities,
) -> int:
    """Writes an allow-list of what fails; the exit code."""
    from cpuprobe.check.allow import MOST_ROWS
    from cpuprobe.check.gate import nothing_read
    from cpuprobe.check.write_allow import allowable, rows_for, to_toml
    from cpuprobe.facts.isa import facts_named

    chosen = [fit for fit in fits if failing.fails(fit)]
    rows = rows_for(filter(allowable, chosen), listed, facts_named(judged.isa))
    if len(rows) > MOST_ROWS:
        raise UsageError(
            f"--write-allow {path}: {len(rows)} files want a row, and a list has no more than "
            f"{MOST_ROWS}: check fewer at once, or build them again"
        )
    write_page(to_toml(rows, judged.name), path)
    left = sum(not allowable(fit) for fit in chosen)
    more = f"; {counted(left, 'file')} that no list can allow" if left else ""
    note(f"{path}: {counted(len(rows), 'row')}, each wants a reason{more}")
    return 4 if nothing_read(fits) or any(fit.error is not None for fit in fits) else int(left > 0)
