"""Whether files fit a machine, as text of at most 100 columns: pure.

It works on the plain data of the JSON document, so that a saved document can be shown as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from cpuprobe.check.allow import Stale
from cpuprobe.check.gate import ORDER, Gate
from cpuprobe.check.judge import Fit
from cpuprobe.check.many import APPENDED
from cpuprobe.check.variants import Variants
from cpuprobe.report import compiled_text
from cpuprobe.words import counted, cut, names, plain, wrapped

SCHEMA = "cpuprobe.check/1"

WORDS = {each: each.upper() for each in ORDER}
_SOURCES = {
    "artifact": "wasm functions",
    "symbol": "functions by symbol",
    "unwind": "functions by unwind entry",
    "sweep": "bytes without symbol or unwind entry, decoded straight on",
}
_CONFIDENCE = {"artifact": "sure", "symbol": "high", "unwind": "high", "sweep": "low"}
_SHOWN_PLACES = 3
_SHOWN_EXCESS = 8
_SHOWN_VARIANTS = 12
_LONG = 12
"""Files from which on each has but one row."""
_MOST_ROWS = 60
_MOST_FITTING = 20
"""Rows beyond which those that fit are summed up only."""
_MOST_SHOWN = 3
"""As many that fail are told at length all the same."""
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


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    return wrapped(plain(text), indent, indent)


def _lines(report: Mapping[str, Any], quiet: bool) -> Iterator[str]:
    files = worst_first(report)
    shown = [file for file in files if file.get("fails")] if quiet else files
    if len(shown) > _LONG:
        yield from _rows(shown)
    else:
        for file in shown:
            yield from _file(file)
    if quiet:
        return
    if len(files) != 1:
        counts = Counter(word_of(file) for file in files)
        told = ", ".join(f"{count} {word.lower()}" for word, count in counts.items())
        against = plain(report["against"])
        yield f"{len(files)} files against {against}: {told or 'nothing to read'}"
    yield from _variants(report.get("variants", ()))
    if report["unread"]:
        yield from _wrapped(f"not read: {kinds(report['unread'])}", "")
    for stale in report.get("stale", ()):
        what = f"{stale['what']} in {stale['file']}" if stale["what"] else stale["file"]
        yield from _wrapped(f"stale in the allow-list, row {stale['row']}: {what}", "")


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
        yield from _wrapped(f"variants of {group['name']}, {by}: {told}{taken}", "")
    if len(groups) > _SHOWN_VARIANTS:
        yield f"and variants of {counted(len(groups) - _SHOWN_VARIANTS, 'file')} more"


def kinds(unread: Mapping[str, int]) -> str:
    """How many of what kind."""
    return ", ".join(counted(count, kind) for kind, count in sorted(unread.items()))


def word_of(file: Mapping[str, Any]) -> str:
    """What a file's answer is called."""
    return "ALLOWED" if file.get("allowed") else WORDS[file["expectation"]]


def _rows(files: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    failing = [file for file in files if file.get("fails")]
    if len(failing) <= _MOST_SHOWN:  # they come first
        for file in failing:
            yield from _file(file)
        files = files[len(failing) :]
    told = [file for file in files if file["expectation"] != "runs"]
    if len(told) > _MOST_FITTING:
        told = [file for file in told if file.get("fails") or not file["fits"]]
    for file in told[:_MOST_ROWS]:
        yield row(word_of(file), file["path"], _gist(file))
    if len(told) > _MOST_ROWS:
        rest = Counter(word_of(file) for file in told[_MOST_ROWS:])
        counts = ", ".join(f"{count} {word.lower()}" for word, count in rest.items())
        yield f"and {len(told) - _MOST_ROWS} more: {counts}; --format json has them all"
    if len(failing) > _MOST_SHOWN:
        yield "check one of them alone to see why, or see --format json"


def row(word: str, path: str, gist: str) -> str:
    """One file in one row of 80 columns; of a long path the end is kept."""
    name, told = plain(path), plain(gist)
    room = _ROW - 11
    if len(name) + 2 + len(told) > room:
        told = told if len(told) <= room // 2 else f"{told[: room // 2 - 3]}..."
        space = room - 2 - len(told)
        name = name if len(name) <= space else f"...{name[3 - space :]}"
    return f"{word:<11}{name}  {told}".rstrip()


def _gist(file: Mapping[str, Any]) -> str:
    if file["error"] is not None:
        return str(file["error"])
    return names(file["missing"], 3) or str(file["message"] or file["reason"])


def _file(file: Mapping[str, Any]) -> Iterator[str]:
    yield f"{word_of(file):<11}{plain(file['path'])}"
    if file["error"] is not None:
        yield from _wrapped(file["error"])
        return
    if file.get("allowed"):
        yield from _permissions(file)
        return
    needs = file["needs"]
    if needs is None:
        yield from _wrapped(file["reason"])
        return
    if file["expectation"] != "runs" or needs["engine"] is not None:
        yield from _wrapped(file["reason"])
    if needs.get("appended", 0) >= APPENDED:
        yield from _wrapped(f"{needs['appended']:,} bytes behind the program are not read")
    if file["message"] is not None:
        yield from _wrapped(f"message: {file['message']}")
    if needs["engine"] is not None:
        yield from _engine(needs["engine"])
    yield from _permissions(file)
    if file.get("compiled"):
        yield from compiled_text.lines(file["compiled"])
    for name in needs["features"] if file.get("compiled") else file["missing"]:
        yield from _use(name, needs["features"][name])
    if file["missing"]:
        yield from _coverage(needs["coverage"])
    if file["expectation"] != "runs" and needs["unknown"]:
        unknown = ", ".join(needs["unknown"])
        yield from _wrapped(
            f"not judged, no row in the feature table (iced-x86's names): {unknown}"
        )


def _permissions(file: Mapping[str, Any]) -> Iterator[str]:
    counts: Counter[str] = Counter()
    for each in file.get("permissions", ()):
        counts[each["reason"]] += each["functions"]
    for reason, count in counts.items():
        if count:
            yield from _wrapped(f"allowed, {counted(count, 'function')}: {reason}")
    for each in file.get("permissions", ()):
        if each["refused"]:
            more = counted(each["refused"], "function")
            yield from _wrapped(f"more than its row allows at most, {more}: {each['reason']}")
    excess = file.get("excess", ()) if file.get("fails") or not file["fits"] else ()
    if excess:
        yield f"  not allowed, {counted(len(excess), 'function')}:"
    for function in excess[:_SHOWN_EXCESS]:
        yield place(function)
    if len(excess) > _SHOWN_EXCESS:
        yield f"    {'':>12}  and {counted(len(excess) - _SHOWN_EXCESS, 'function')} more"


def place(function: Mapping[str, Any]) -> str:
    """One function with what it needs; of a long name the beginning is kept."""
    where, features = f"{function['address']:#x}", ", ".join(function["features"])
    return cut(f"    {where:>12}  {features}  {plain(function['name']) or '(no symbol)'}")


def _engine(engine: Mapping[str, Any]) -> Iterator[str]:
    flags = " ".join(engine["flags"]) or "none"
    yield from _wrapped(f"wasmtime {engine['version']}, {engine['target']}, flags on: {flags}")
    if engine["beyond"]:
        yield from _wrapped(f"its code uses more than its flags say: {' '.join(engine['beyond'])}")


def _use(name: str, use: Mapping[str, Any]) -> Iterator[str]:
    best = min(use["by"], key=list(_SOURCES).index)
    yield from _wrapped(
        f"{name}: {counted(use['instructions'], 'instruction')} in "
        f"{counted(use['functions'], 'function')}, confidence {_CONFIDENCE[best]} "
        f"({', '.join(f'{count} in {_SOURCES[source]}' for source, count in use['by'].items())})"
    )
    for place in use["places"][:_SHOWN_PLACES]:
        where = f"{place['address']:#x}"
        count = place["instructions"]
        yield cut(f"    {where:>12}  {count:>6}  {plain(place['name']) or '(no symbol)'}")
    rest = use["functions"] - min(_SHOWN_PLACES, len(use["places"]))
    if rest > 0:
        yield f"    {'':>12}  and {counted(rest, 'function')} more"


def _coverage(coverage: Mapping[str, Any]) -> Iterator[str]:
    total = coverage["total"] or 1
    parts = [
        f"{100 * coverage[kind] / total:.1f} % {words}"
        for kind, words in (
            ("symbol", "in functions by symbol"),
            ("unwind", "by unwind entry"),
            ("sweep", "taken for code by decoding straight on"),
            ("padding", "padding"),
            ("data", "data by symbol"),
            ("unknown", "not covered"),
        )
        if coverage[kind]
    ]
    text = f"of {coverage['total']} bytes of text: {', '.join(parts)}"
    if coverage["discarded"]:
        text += f"; {counted(coverage['discarded'], 'decoded instruction')} not believed"
    yield from _wrapped(text)
