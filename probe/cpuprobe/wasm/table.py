"""Reads ``operators.txt``, the table of operators and shapes: its grammar stands at its head."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Types = tuple[str, ...]

_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "operators.txt")
_KINDS = frozenset({"i32", "i64", "f32", "f64", "v128"})
_NAME = re.compile(r"(?:\{[^}]*\}|[^\s{])+")
_ALTERNATIVES = re.compile(r"\{(?:(\w+):)?([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table, all its words bound.

    Attributes:
        name: of an operator, ``operator/shape`` of a function, ``prefix/shape`` of a shape.
        operands: types of the operands; None if a shape takes any.
        results: types of the operator's results; of a source, the operand's type.
        outputs: types of what the function gives.
        text: the last column; empty for an operator in every shape.
    """

    name: str
    operands: Types | None
    results: Types
    outputs: Types
    text: str


_Lists = dict[str, list[tuple[str, str]]]


def read_table() -> Iterator[Row]:
    """Yields the rows in the table's order, one for each binding and alternative.

    Raises:
        ValueError: a row is not of the table's grammar.
    """
    with open(_FILE, encoding="ascii") as file:
        text = file.read()
    lists: _Lists = {}
    bindings: list[dict[str, str]] = [{}]
    for line in re.sub(r"\n +", " ", text).splitlines():
        word, _, rest = line.partition(" ")
        if word == "list":
            name, _, entries = rest.partition(" = ")
            lists[name] = [_entry(name, each.strip()) for each in entries.split(",")]
        elif word == "for":
            bindings = _bindings(rest)
        elif word and not word.startswith("#"):
            for words in bindings:
                yield from _rows(line, words, lists)


def _rows(line: str, words: Mapping[str, str], lists: _Lists) -> Iterator[Row]:
    names, signature, text = (*re.split(r" {2,}", line), "")[:3]
    for name in _NAME.findall(_bind(names, words)):
        for chosen, more in _choices(name, lists):
            taken, arrow, rest = _bind(_bind(signature, more), words).rpartition("->")
            results, colon, given = rest.partition(" : ")
            yield Row(
                chosen,
                _types(taken) if arrow else None,
                _types(results),
                _types(given if colon else results),
                _bind(_bind(text, more), words),
            )


def _types(text: str) -> Types:
    kinds = tuple(kind for kind in text.split() if kind != "-")
    if not _KINDS.issuperset(kinds):
        raise ValueError(f"operators.txt: no types: {text!r}")
    return kinds


def _choices(name: str, lists: _Lists) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the name with each of its alternatives in braces, and the words that these bind."""
    found = _ALTERNATIVES.search(name)
    if found is None:
        yield name, {}
        return
    word, values = found.groups()
    for key, value in lists.get(values) or [(each, each) for each in values.split()]:
        for chosen, more in _choices(name[found.end() :], lists):
            yield name[: found.start()] + key + chosen, {**({word: value} if word else {}), **more}


def _bind(text: str, words: Mapping[str, str]) -> str:
    """The text with what the words stand for, alone or in braces."""
    for word, value in words.items():
        pattern = rf"\{{{word}\}}|(?<![\w$-]){word}(?![\w-])"
        text = re.sub(pattern, lambda _, value=value: value, text)  # type: ignore[misc]
    return text


def _bindings(text: str) -> list[dict[str, str]]:
    """The bindings of a `for`: `a, b = 1|2, 3; 4, 5` gives 1 and 3, 2 and 3, 4 and 5."""
    names, equals, groups = text.partition(" = ")
    found = [
        dict(zip(names.split(", "), row, strict=True))
        for group in groups.split(";")
        for row in itertools.product(*(_each(cell.strip()) for cell in group.split(",")))
    ]
    return found if equals else [{}]


def _each(cell: str) -> list[str]:
    first, dots, last = cell.partition("..")
    if dots:
        return [str(number) for number in range(int(first), int(last) + 1)]
    return ["" if value == "." else value for value in cell.split("|")]


def _entry(name: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if name == "masks":
        lanes = [int(lane) for word in value.split() for lane in _each(word)]
        width = 16 // len(lanes)
        value = " ".join(str(lane * width + byte) for lane in lanes for byte in range(width))
    return "" if key == "." else key, value if equals else key
