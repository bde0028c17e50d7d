"""Whether files fit a machine, as text of at most 100 columns: pure.

It works on the plain data of the JSON document, so that a saved document can be shown as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cpuprobe.words import counted, cut, plain, wrapped

SCHEMA = "cpuprobe.check/1"

_WORDS = {
    "runs": "RUNS",
    "guarded": "GUARDED",
    "unguarded": "UNGUARDED",
    "dies": "DIES",
    "refused": "REFUSED",
    "foreign": "FOREIGN",
    "unreadable": "UNREADABLE",
    "unread": "UNREAD",
}
_SOURCES = {
    "artifact": "wasm functions",
    "symbol": "functions by symbol",
    "unwind": "functions by unwind entry",
    "sweep": "bytes without symbol or unwind entry, decoded straight on",
}
_CONFIDENCE = {"artifact": "sure", "symbol": "high", "unwind": "high", "sweep": "low"}
_SHOWN_PLACES = 3


def document(
    against: str, fits: Sequence[Mapping[str, Any]], unread: Mapping[str, int]
) -> dict[str, Any]:
    """The JSON document.

    Args:
        against: the machine's name.
        fits: one plain object a file.
        unread: how many files in folders are of what kind that is not read.
    """
    return {"schema": SCHEMA, "against": against, "files": list(fits), "unread": dict(unread)}


def to_text(report: Mapping[str, Any]) -> str:
    """The same for people: the files that need attention at length, the others in a line each."""
    return "".join(f"{line}\n" for line in _lines(report))


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    return wrapped(plain(text), indent, indent)


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    files = report["files"]
    for file in files:
        yield from _file(file)
    counts: dict[str, int] = {}
    for file in files:
        counts[file["expectation"]] = counts.get(file["expectation"], 0) + 1
    if len(files) != 1:
        told = ", ".join(
            f"{counts[each]} {word.lower()}" for each, word in _WORDS.items() if each in counts
        )
        against = plain(report["against"])
        yield f"{len(files)} files against {against}: {told or 'nothing to read'}"
    if report["unread"]:
        yield from _wrapped(f"not read: {kinds(report['unread'])}", "")


def kinds(unread: Mapping[str, int]) -> str:
    """How many of what kind."""
    return ", ".join(counted(count, kind) for kind, count in sorted(unread.items()))


def _file(file: Mapping[str, Any]) -> Iterator[str]:
    yield f"{_WORDS[file['expectation']]:<11}{plain(file['path'])}"
    if file["error"] is not None:
        yield from _wrapped(file["error"])
        return
    needs = file["needs"]
    if file["expectation"] != "runs" or needs["engine"] is not None:
        yield from _wrapped(file["reason"])
    if file["message"] is not None:
        yield from _wrapped(f"message: {file['message']}")
    if needs["engine"] is not None:
        yield from _engine(needs["engine"])
    for name in file["missing"]:
        yield from _use(name, needs["features"][name])
    if file["missing"]:
        yield from _coverage(needs["coverage"])
    if file["expectation"] != "runs" and needs["unknown"]:
        names = ", ".join(needs["unknown"])
        yield from _wrapped(f"not judged, no row in the feature table (iced-x86's names): {names}")


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
