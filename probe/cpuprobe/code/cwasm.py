"""What a compiled wasm module needs: its engine section, and what its code really uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from cpuprobe.code.a64_scan import needy, words_of
from cpuprobe.code.budget import BUDGET, FUNCTION, Budget
from cpuprobe.code.engine_section import read_engine_section
from cpuprobe.code.forms import forms
from cpuprobe.code.needs import MOST_LISTED, Confidence, Coverage, Engine, Function, Needs
from cpuprobe.code.program import CodeBytes
from cpuprobe.code.tally import FoundIn, uses
from cpuprobe.code.walk import FunctionCode, artifact_functions, reachable_instructions
from cpuprobe.facts.aarch64 import load_features as load_arm_features
from cpuprobe.facts.isa import X86_64, facts_of_code

CONFIDENCE: Confidence = "artifact"


def read_cwasm(content: bytes, most: int = BUDGET, isa: str = "x86-64") -> Needs:
    """Reads an artifact; code for others than `isa` is not looked at.

    Args:
        content: the whole file.
        most: steps of work that it may be.
        isa: the instruction set.

    Returns:
        Its needs.

    Raises:
        ArtifactError: damaged, more work than a file may be, or of no wasmtime that is known.
    """
    section = read_engine_section(content)
    on = tuple(
        name
        for name, value in section.isa_flags.items()
        if name.startswith("has_") and value is True
    )
    architecture = section.target.partition("-")[0]
    facts = facts_of_code(architecture)
    if facts is None or facts.name != isa:
        engine = Engine(section.version, section.target, on, ())
        return Needs(kind="cwasm", architecture=architecture, engine=engine)
    code = _read(content, Budget(most), _needs if facts is X86_64 else _needs_of_words)
    table = facts.features()
    allowed = {table.by_cranelift[flag].name for flag in on if flag in table.by_cranelift}
    allowed = allowed.union(*(table.closure(name) for name in allowed))
    return msgspec.structs.replace(
        code,
        architecture=facts.name,
        engine=Engine(
            section.version,
            section.target,
            on,
            tuple(name for name in code.features if name not in allowed),
        ),
    )


_Where = tuple[dict[tuple[bool, str], list[int]], int]
"""What a function needs: whether it has a row, its name, the addresses; and how much is invalid."""


def _read(
    content: bytes, budget: Budget, needs_of: Callable[[FunctionCode, Budget], _Where]
) -> Needs:
    """What its functions need.

    Args:
        content: the whole file.
        budget: the steps of work that it may be.
        needs_of: what one function needs.
    """
    known: dict[str, list[FoundIn[str]]] = {}
    unknown: dict[str, list[FoundIn[str]]] = {}
    functions: list[Function] = []
    total = discarded = 0
    for function in artifact_functions(content):
        budget.spend(FUNCTION)
        total += len(function.data)
        addresses, invalid = needs_of(function, budget)
        discarded += invalid
        for (is_known, name), where in addresses.items():
            place = where[0], len(where), CONFIDENCE, function.name
            (known if is_known else unknown).setdefault(name, []).append(place)
        needed = {name: where for (is_known, name), where in addresses.items() if is_known}
        if needed:
            functions.append(_listed(function, needed))
    return Needs(
        kind="cwasm",
        features=uses(known, str),
        functions=tuple(functions[:MOST_LISTED]),
        unlisted=max(0, len(functions) - MOST_LISTED),
        unknown=uses(unknown, str),
        coverage=Coverage(total=total, symbol=total, discarded=discarded),
    )


def _needs_of_words(function: FunctionCode, budget: Budget) -> _Where:
    """Of aarch64; constants between instructions are not told apart.

    Cranelift puts them behind a function's code as a rule (literal pools), so that one that looks
    like an instruction is rare.
    """
    budget.spend(len(function.data) // 4)
    table = load_arm_features()
    addresses: dict[tuple[bool, str], list[int]] = {}
    for at, row in needy(words_of(CodeBytes(0, "", function.address, function.data))):
        for name in row.features:
            addresses.setdefault((name in table, name), []).append(function.address + 4 * at)
    return addresses, 0


def _needs(function: FunctionCode, budget: Budget) -> _Where:
    """Of x86-64."""
    sort = forms()
    addresses: dict[tuple[bool, str], list[int]] = {}
    discarded = 0
    for each in reachable_instructions(function, budget):
        meaning = sort.meaning(each.code)
        discarded += each.is_invalid
        for name in meaning.relied_on:
            addresses.setdefault((True, name), []).append(each.ip)
        for name in meaning.unknown:
            addresses.setdefault((False, name), []).append(each.ip)
    return addresses, discarded


def _listed(function: FunctionCode, needed: Mapping[str, list[int]]) -> Function:
    first, last = min(map(min, needed.values())), max(map(max, needed.values()))
    counts = {name: len(where) for name, where in needed.items()}
    return Function(function.name, function.address, first, last, CONFIDENCE, counts)
