"""Two builds of the same files, as a JSON document and as text: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from cpuprobe.check.builds import Difference
from cpuprobe.report.fit import kinds, row
from cpuprobe.report.fit_file import WORDS, places
from cpuprobe.words import counted, names, plain, wrapped

SCHEMA = "cpuprobe.check-diff/1"
_LONG = 12
_MOST_ROWS = 60
_ORDER = ("CAME", "CHANGED", "NEW", "GONE", "SAME")
_UNFIT = {"dies", "refused", "unguarded"}


def document(
    against: str, differences: Sequence[Difference], unread: Mapping[str, int]
) -> dict[str, Any]:
    """The JSON document.

    Args:
        against: the machine's name.
        differences: of all files.
        unread: how many files of the new build are of what kind that is not read.
    """
    files = msgspec.to_builtins(differences)
    return {"schema": SCHEMA, "against": against, "files": files, "unread": dict(unread)}


def word_of(file: Mapping[str, Any]) -> str:
    """What has become of a file: CAME where something beyond the machine did."""
    if file["fails"]:
        return "CAME"
    if file["path"] is None:
        return "GONE"
    if file["old"] is None:
        return "NEW"
    changed = file["features"] or file["came"] or file["went"] or file["was"] != file["expectation"]
    return "CHANGED" if changed else "SAME"


def to_text(report: Mapping[str, Any], quiet: bool = False) -> str:
    """The document for people: what came first; of many files each has one row.

    Args:
        report: the document.
        quiet: only where something beyond the machine came.
    """
    return "".join(f"{line}\n" for line in _lines(report, quiet))


def worst_first(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Its files: where something came first, of these what does not fit, and where most came."""
    return sorted(
        report["files"],
        key=lambda file: (
            _ORDER.index(word_of(file)),
            file["expectation"] not in _UNFIT,
            -len(file["came"]),
        ),
    )


def _lines(report: Mapping[str, Any], quiet: bool) -> Iterator[str]:
    files = worst_first(report)
    shown = [file for file in files if word_of(file) != "SAME"]
    if quiet:
        shown = [file for file in files if file["fails"]]
    if len(shown) > _LONG:
        shown = [file for file in shown if _matters(file)]
        for file in shown[:_MOST_ROWS]:
            unfit = file["came"] and file["expectation"] in _UNFIT
            verdict = f"{WORDS[file['expectation']]}, " if unfit else ""
            yield row(word_of(file), _name(file), verdict + gist(file))
        if len(shown) > _MOST_ROWS:
            yield f"and {len(shown) - _MOST_ROWS} more; --format json has them all"
    else:
        for file in shown:
            yield from _file(file, plain(report["against"]))
    if not quiet:
        yield summary(report)
        if report["unread"]:
            yield from wrapped(plain(f"not read: {kinds(report['unread'])}"), "", "")


def _matters(file: Mapping[str, Any]) -> bool:
    """Whether there is more to say of a file than that it is there, or that counts differ."""
    if file["path"] is None or file["old"] is None:
        return file["fails"] or file["expectation"] not in (None, "runs")
    return bool(file["fails"] or file["beyond"] or file["was"] != file["expectation"])


def summary(report: Mapping[str, Any]) -> str:
    """In how many of its files something came, changed and so on, as one line."""
    counts = Counter(map(word_of, report["files"]))
    told = ", ".join(f"{counts[word]} {word.lower()}" for word in _ORDER if counts[word])
    files, against = counted(len(report["files"]), "file"), plain(report["against"])
    return f"{files} against {against}: {told or 'nothing to compare'}"


def _name(file: Mapping[str, Any]) -> str:
    return str(file["path"] if file["path"] is not None else file["old"])


def gist(file: Mapping[str, Any]) -> str:
    """The most that can be said of a file in half a line."""
    if file["came"]:
        features = dict.fromkeys(name for each in file["came"] for name in each["features"])
        return f"{counted(len(file['came']), 'function')}: {names(features, 3)}"
    if file["was"] != file["expectation"] and None not in (file["was"], file["expectation"]):
        return f"{WORDS[file['expectation']]}, was {WORDS[file['was']]}"
    if file["old"] is None:
        return WORDS[file["expectation"]]
    return names(file["beyond"] or file["features"], 3)


def _file(file: Mapping[str, Any], against: str) -> Iterator[str]:
    yield f"{word_of(file):<11}{plain(_name(file))}"
    if file["match"] in ("name", "content"):
        yield from wrapped(f"was {plain(file['old'])} (by {file['match']})", "  ", "  ")
    if file["old"] is None:
        yield f"  {WORDS[file['expectation']]}"
    elif file["path"] is not None and file["was"] != file["expectation"]:
        yield f"  {WORDS[file['expectation']]}, was {WORDS[file['was']]}"
    beyond = [name for name in file["features"] if name in file["beyond"]]
    within = [name for name in file["features"] if name not in file["beyond"]]
    for name in beyond:
        yield from wrapped(_change(name, file["features"][name]), "  ", "    ")
    if within and file["path"] is not None:
        yield from wrapped(
            f"counts of {names(within, 6)} have changed, no need there", "  ", "    "
        )
    for words, functions in (("came", file["came"]), ("went", file["went"])):
        yield from places(functions, words, f" beyond {against}")


def _change(name: str, change: Mapping[str, Any]) -> str:
    (before, now), (functions_before, functions) = change["instructions"], change["functions"]
    return (
        f"{name}: {counted(now, 'instruction')} in {counted(functions, 'function')}, "
        f"{before:,} in {functions_before:,} before"
    )
