"""What a compiled wasm module needs: its engine section, and what its code really uses."""

from __future__ import annotations

from cpuprobe.code.budget import FUNCTION, Budget
from cpuprobe.code.engine_section import read_engine_section
from cpuprobe.code.forms import forms
from cpuprobe.code.needs import Confidence, Coverage, Engine, Needs
from cpuprobe.code.tally import FoundIn, uses
from cpuprobe.code.walk import artifact_functions, reachable_instructions
from cpuprobe.facts.features import load_features

CONFIDENCE: Confidence = "artifact"


def read_cwasm(content: bytes) -> Needs:
    """Reads an artifact.

    Args:
        content: the whole file.

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
    sort = forms()
    known: dict[str, list[FoundIn[str]]] = {}
    unknown: dict[str, list[FoundIn[str]]] = {}
    total = discarded = 0
    budget = Budget()
    for function in artifact_functions(content):
        budget.spend(FUNCTION)
        total += len(function.data)
        addresses: dict[tuple[bool, str], list[int]] = {}
        for each in reachable_instructions(function, budget):
            meaning = sort.meaning(each.code)
            discarded += each.is_invalid
            for name in meaning.needs:
                addresses.setdefault((True, name), []).append(each.ip)
            for name in meaning.unknown:
                addresses.setdefault((False, name), []).append(each.ip)
        for (is_known, name), where in addresses.items():
            place = where[0], len(where), CONFIDENCE, function.name
            (known if is_known else unknown).setdefault(name, []).append(place)
    table = load_features()
    allowed = {table.by_cranelift[flag].name for flag in on if flag in table.by_cranelift}
    allowed = allowed.union(*(table.closure(name) for name in allowed))
    features = uses(known, str)
    return Needs(
        kind="cwasm",
        features=features,
        unknown=uses(unknown, str),
        coverage=Coverage(total=total, symbol=total, discarded=discarded),
        engine=Engine(
            section.version,
            section.target,
            on,
            tuple(name for name in features if name not in allowed),
        ),
    )
