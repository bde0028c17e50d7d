"""What a compiled wasm module needs: its engine section, and what its code really uses."""

from __future__ import annotations

import msgspec

from cpuprobe.code.budget import BUDGET, FUNCTION, Budget
from cpuprobe.code.engine_section import read_engine_section
from cpuprobe.code.forms import forms
from cpuprobe.code.needs import MOST_LISTED, Confidence, Coverage, Engine, Function, Needs
from cpuprobe.code.tally import FoundIn, uses
from cpuprobe.code.walk import artifact_functions, reachable_instructions
from cpuprobe.facts.features import load_features

CONFIDENCE: Confidence = "artifact"


def read_cwasm(content: bytes, most: int = BUDGET) -> Needs:
    """Reads an artifact.

    Args:
        content: the whole file.
        most: steps of work that it may be.

    Returns:
        Its needs; no code is looked at unless it is x86-64 code.

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
    if architecture != "x86_64":
        engine = Engine(section.version, section.target, on, ())
        return Needs(kind="cwasm", architecture=architecture, engine=engine)
    code = _read_code(content, Budget(most))
    table = load_features()
    allowed = {table.by_cranelift[flag].name for flag in on if flag in table.by_cranelift}
    allowed = allowed.union(*(table.closure(name) for name in allowed))
    return msgspec.structs.replace(
        code,
        engine=Engine(
            section.version,
            section.target,
            on,
            tuple(name for name in code.features if name not in allowed),
        ),
    )


def _read_code(content: bytes, budget: Budget) -> Needs:
    """What its functions need."""
    sort = forms()
    known: dict[str, list[FoundIn[str]]] = {}
    unknown: dict[str, list[FoundIn[str]]] = {}
    functions: list[Function] = []
    total = discarded = 0
    for function in artifact_functions(content):
        budget.spend(FUNCTION)
        total += len(function.data)
        addresses: dict[tuple[bool, str], list[int]] = {}
        for each in reachable_instructions(function, budget):
            meaning = sort.meaning(each.code)
            discarded += each.is_invalid
            for name in meaning.relied_on:
                addresses.setdefault((True, name), []).append(each.ip)
            for name in meaning.unknown:
                addresses.setdefault((False, name), []).append(each.ip)
        for (is_known, name), where in addresses.items():
            place = where[0], len(where), CONFIDENCE, function.name
            (known if is_known else unknown).setdefault(name, []).append(place)
        needed = {name: where for (is_known, name), where in addresses.items() if is_known}
        if needed:
            first, last = min(map(min, needed.values())), max(map(max, needed.values()))
            counts = {name: len(where) for name, where in needed.items()}
            functions.append(
                Function(function.name, function.address, first, last, CONFIDENCE, counts)
            )
    return Needs(
        kind="cwasm",
        features=uses(known, str),
        functions=tuple(functions[:MOST_LISTED]),
        unlisted=max(0, len(functions) - MOST_LISTED),
        unknown=uses(unknown, str),
        coverage=Coverage(total=total, symbol=total, discarded=discarded),
    )
