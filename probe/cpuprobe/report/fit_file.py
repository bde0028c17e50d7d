"""One file's answer of `check`, at length, as text of at most 100 columns: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cpuprobe.check.gate import ORDER
from cpuprobe.report import compiled_text
from cpuprobe.words import counted, cut, names, plain, wrapped

WORDS = {each: each.upper() for each in ORDER}
_SOURCES = {
    "artifact": "wasm functions",
    "symbol": "functions by symbol",
    "unwind": "functions by unwind entry",
    "sweep": "bytes without symbol or unwind entry, decoded straight on",
}
_CONFIDENCE = {"artifact": "sure", "symbol": "high", "unwind": "high", "sweep": "low"}
_SHOWN_FEATURES = 5
_SHOWN_PLACES = 3
_SHOWN_FUNCTIONS = 8


def word_of(file: Mapping[str, Any]) -> str:
    """What a file's answer is called."""
    return "ALLOWED" if file.get("allowed") else WORDS[file["expectation"]]


def _wrapped(text: str) -> list[str]:
    return wrapped(plain(text), "  ", "  ")


def file_lines(file: Mapping[str, Any]) -> Iterator[str]:
    """What is told of one file of the document."""
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
    is_empty = not needs["coverage"]["total"]
    if file["expectation"] != "runs" or needs["engine"] is not None or is_empty:
        yield from _wrapped(file["reason"])
    if file["message"] is not None:
        yield from _wrapped(f"message: {file['message']}")
    if needs["engine"] is not None:
        yield from _engine(needs["engine"])
    yield from _permissions(file)
    if file.get("compiled"):
        yield from compiled_text.lines(file["compiled"])
    yield from _uses(file, needs)
    if file["missing"]:
        yield from _coverage(needs["coverage"])
    if file["expectation"] != "runs" and needs["unknown"]:
        unknown = ", ".join(needs["unknown"])
        yield from _wrapped(
            f"not judged, no row in the feature table (iced-x86's names): {unknown}"
        )


def _permissions(file: Mapping[str, Any]) -> Iterator[str]:
    if file.get("permissions") and file["expectation"] in ("dies", "refused"):
        yield from _wrapped("what is proved cannot be allowed: its rows in the list do nothing")
        return
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
    yield from places(excess, "not allowed")


def places(functions: Sequence[Mapping[str, Any]], what: str, more: str = "") -> Iterator[str]:
    """The first of some functions, below what they are and how many; nothing of none."""
    if functions:
        yield f"  {what}, {counted(len(functions), 'function')}{more}:"
    for function in functions[:_SHOWN_FUNCTIONS]:
        yield place(function)
    if len(functions) > _SHOWN_FUNCTIONS:
        yield f"    {'':>12}  and {counted(len(functions) - _SHOWN_FUNCTIONS, 'function')} more"


def place(function: Mapping[str, Any]) -> str:
    """One function with what it needs; of a long name the beginning is kept."""
    where, features = f"{function['address']:#x}", ", ".join(function["features"])
    return cut(f"    {where:>12}  {features}  {plain(function['name']) or '(no symbol)'}")


def _engine(engine: Mapping[str, Any]) -> Iterator[str]:
    flags = " ".join(engine["flags"]) or "none"
    yield from _wrapped(f"wasmtime {engine['version']}, {engine['target']}, flags on: {flags}")
    if engine["beyond"]:
        yield from _wrapped(f"its code uses more than its flags say: {' '.join(engine['beyond'])}")


def _uses(file: Mapping[str, Any], needs: Mapping[str, Any]) -> Iterator[str]:
    """What it uses: first what is reached without a choice; of many the rest in a sentence."""
    uses, met = needs["features"], {**needs["entry"], **needs["reached"]}
    every = sorted(
        uses if file.get("compiled") else file["missing"], key=lambda name: name not in met
    )
    several = every if len(every) <= _SHOWN_FEATURES + 1 else every[:_SHOWN_FEATURES]
    for name in several:
        yield from _use(name, uses[name])
    rest = [
        f"{name} ({counted(uses[name]['functions'], 'function')})" for name in every[len(several) :]
    ]
    if rest:
        yield from _wrapped(f"and {names(rest, len(rest))}")


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
