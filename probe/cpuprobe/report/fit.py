"""Whether files fit a machine, as text of at most 100 columns: pure.

It works on the plain data of the JSON document, so that a saved document can be shown as well.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from cpuprobe.check.allow import Stale
from cpuprobe.check.gate import ORDER, Gate
from cpuprobe.check.judge import Fit
from cpuprobe.check.patterns import without_abi
from cpuprobe.check.variants import Variants
from cpuprobe.report.fit_file import file_lines, word_of
from cpuprobe.words import counted, names, plain, wrapped

SCHEMA = "cpuprobe.check/1"

_SHOWN_VARIANTS = 12
_LONG = 12
"""Files from which on each has but one row."""
_MOST_ROWS = 60
_MOST_FITTING = 20
"""Rows beyond which those that fit are summed up only."""
_MOST_SHOWN = 3
"""As many that fail are told at length all the same."""
_MOST_OF_ONE = 5
"""Rows of one archive, where others have some as well."""
_MOST_STALE = 8
"""Numbers of stale rows of one file that are shown."""
_ROW = 80
"""Columns of a row."""


def document(
    against: str,
    fits: Sequence[Fit],
    unread: Mapping[str, int],
    gate: Gate,
    stale: Sequence[Stale] = (),
    allow: str = "",
    variants: Sequence[Variants] = (),
) -> dict[str, Any]:
    """The JSON document.

    Args:
        against: the machine's name.
        fits: of the files, in their order.
        unread: how many files in folders are of what kind that is not read.
        gate: what makes the check fail.
        stale: what in an allow-list met nothing.
        allow: the path of that list.
        variants: files of which a machine takes one.
    """
    files = []
    for fit in fits:
        file = msgspec.to_builtins(fit)
        file["fails"] = gate.fails(fit)
        if fit.needs is not None:  # `excess` has those that matter
            del file["needs"]["functions"], file["needs"]["sketch"]
        files.append(file)
    return {
        "schema": SCHEMA,
        "against": against,
        "files": files,
        "unread": dict(unread),
        "allow": allow,
        "stale_fails": gate.stale,
        "stale": msgspec.to_builtins(stale),
        "variants": msgspec.to_builtins(variants),
    }


def worst_first(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Its files: those that fail first, then by verdict, then by how much is beyond the target."""

    def rank(file: Mapping[str, Any]) -> tuple[bool, int, int]:
        uses = (file.get("needs") or {}).get("features", {})
        beyond = sum(uses[name]["instructions"] for name in file.get("missing", ()))
        answer = "guarded" if file.get("allowed") else file["expectation"]
        return not file.get("fails"), ORDER.index(answer), -beyond

    return sorted(report["files"], key=rank)


def to_text(report: Mapping[str, Any], quiet: bool = False) -> str:
    """The same for people.

    A few files at length; of many each has one row of 80 columns, and what runs is summed up.

    Args:
        report: the document.
        quiet: only what makes the check fail.
    """
    return "".join(f"{line}\n" for line in _lines(report, quiet))


def _lines(report: Mapping[str, Any], quiet: bool) -> Iterator[str]:
    files = worst_first(report)
    shown = [file for file in files if file.get("fails")] if quiet else files
    if len(shown) > _LONG:
        yield from _rows(shown)
    else:
        for file in shown:
            yield from file_lines(file)
    if quiet:
        return
    if len(files) != 1:
        yield summary(report)
    yield from _variants(report.get("variants", ()))
    if report["unread"]:
        yield from wrapped(plain(f"not read: {kinds(report['unread'])}"), "", "")
    for what, several in groupby(report.get("stale", ()), _stale):
        rows = [str(stale["row"]) for stale in several]
        of = f"row{'s' * (len(rows) > 1)} {names(rows, _MOST_STALE)}"
        yield from wrapped(plain(f"stale in the allow-list, {of}: {what}"), "", "")


def _stale(row: Mapping[str, Any]) -> str:
    return f"{row['what']} in {row['file']}" if row["what"] else str(row["file"])


def summary(report: Mapping[str, Any]) -> str:
    """How many of its files got which answer, the worst first, as one line."""
    files = worst_first(report)
    against = plain(report["against"])
    return f"{counted(len(files), 'file')} against {against}: {_counts(files) or 'nothing to read'}"


def _together(paths: Sequence[str]) -> str:
    """What all of some paths begin with."""
    first, last = min(paths), max(paths)
    return first[: next((at for at, each in enumerate(first) if last[at : at + 1] != each), None)]


def _variants(groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Which machines take which of some files."""
    for group in groups[:_SHOWN_VARIANTS]:
        by = "by name" if group["by"] == "name" else f"chosen by {group['by']}"
        together = _together([each["path"] for each in group["choices"]])
        start = max(together.rfind("/"), together.rfind("!")) + 1
        told = "; ".join(
            f"{each['loads'] or 'any other machine'} takes {each['path'][start:]}"
            for each in group["choices"]
        )
        taken = f"; the judged machine {group['taken'][start:]}" if group["taken"] else ""
        yield from wrapped(plain(f"variants of {group['name']}, {by}: {told}{taken}"), "", "")
    if len(groups) > _SHOWN_VARIANTS:
        yield f"and variants of {counted(len(groups) - _SHOWN_VARIANTS, 'file')} more"


# Behind the noun in what a kind is called.
_NOUN_ENDS = re.compile(
    r"(?=,? (?:of|in|to|from|with|without|packed|nested|too|whose|excluded) |$)"
)


def kinds(unread: Mapping[str, int]) -> str:
    """How many of what kind."""
    return ", ".join(
        f"{count:,} {kind if count == 1 else _NOUN_ENDS.sub('s', kind, count=1)}"
        for kind, count in sorted(unread.items())
    )


def _rows(files: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    failing = [file for file in files if file.get("fails")]
    if len(failing) <= _MOST_SHOWN:  # they come first
        for file in failing:
            yield from file_lines(file)
        files = files[len(failing) :]
    told = [file for file in files if file["expectation"] != "runs"]
    if len(told) > _MOST_FITTING:
        told = [file for file in told if file.get("fails") or not file["fits"]]
    several, summed = _few_of_each(told)
    for file in several[:_MOST_ROWS]:
        yield row(word_of(file), file["path"], _gist(file))
    for archive, rest in summed.items():
        name = _shortened(f"{plain(archive.rpartition('/')[2])}!", _ROW // 2).rstrip("!")
        yield f"and {len(rest)} more in {name}: {_counts(rest)}"
    if len(several) > _MOST_ROWS:
        rest = several[_MOST_ROWS:]
        yield f"and {len(rest)} more: {_counts(rest)}; --format json has them all"
    if len(failing) > _MOST_SHOWN:
        yield "check one alone, or the archive it is in, to see why; --format json tells all"


def _few_of_each(
    files: Sequence[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], dict[str, list[Mapping[str, Any]]]]:
    """Of each archive the first few, lest one hides the others; and what is left of which."""
    archives = Counter(file["path"].partition("!")[0] for file in files)
    several, summed, seen = [], defaultdict(list), Counter[str]()
    for file in files:
        archive = file["path"].partition("!")[0]
        seen[archive] += 1
        if seen[archive] > _MOST_OF_ONE and len(archives) > 1:
            summed[archive].append(file)
        else:
            several.append(file)
    return several, summed


def _counts(files: Iterable[Mapping[str, Any]]) -> str:
    """How many of some files got which answer, in their order."""
    counts = Counter(map(word_of, files))
    return ", ".join(f"{count} {word.lower()}" for word, count in counts.items())


def row(word: str, path: str, gist: str) -> str:
    """One file in one row of 80 columns; of a long path the end is kept.

    Of what lies in an archive also the beginning of the archive's name: that is what was built.
    """
    name, told = plain(path), plain(gist)
    room = _ROW - 11
    if len(name) + 2 + len(told) > room:
        told = told if len(told) <= room // 2 else f"{told[: room // 2 - 3]}..."
        name = _shortened(name, room - 2 - len(told))
    return f"{word:<11}{name}  {told}".rstrip()


def _shortened(name: str, space: int) -> str:
    """A path in so many columns."""
    if len(name) <= space:
        return name
    name = without_abi(name, ".*")
    if len(name) <= space:
        return name
    archive, found, _ = name.partition("!")
    start = archive.rpartition("/")[2][: space // 3] if found else ""
    return f"{start}...{name[len(start) + 3 - space :]}"


def _gist(file: Mapping[str, Any]) -> str:
    if file["error"] is not None:
        return str(file["error"])
    return names(file["missing"], 3) or str(file["message"] or file["reason"])
