"""Looks in code that wasmtime compiled for instructions that need a feature outside a set."""

from __future__ import annotations

import re
from collections.abc import Collection

from cpuprobe.errors import CannotMeasureError
from cpuprobe.wasm.verification import CodeProof, Outside

try:
    from iced_x86 import Formatter, FormatterSyntax

    from cpuprobe.code.forms import forms
    from cpuprobe.code.walk import artifact_functions, code_name, reachable_instructions
except ImportError:
    raise CannotMeasureError(
        "iced-x86, the decoder, is not installed: pip install iced-x86"
    ) from None

_WASM_FUNCTION = re.compile(r"^wasm\[0\]::function\[(\d+)\]")


def _needs(code: int) -> frozenset[str]:
    """Canonical names; iced-x86's own where the feature table has no row.

    Here TZCNT counts: Cranelift relies on what it does to zero.
    """
    meaning = forms().meaning(code)
    return frozenset(meaning.features + meaning.unknown)


def prove_code(artifact: bytes, safe: Collection[str]) -> CodeProof:
    """Looks for instructions that need a feature outside a set.

    iced-x86 lists for each form the features it needs, all of them together; a form that exists in
    two encodings (VEX and EVEX) is two forms. Names that mean one feature share a row of the table.

    Args:
        artifact: a compiled module, as `Module.serialize()` returns it.
        safe: canonical names. What they imply has to be among them.

    Raises:
        ArtifactError: it is damaged.
    """
    allowed = frozenset(safe)
    formatter = Formatter(FormatterSyntax.INTEL)
    counts: dict[int, int] = {}
    first: dict[int, tuple[str, int, str]] = {}
    functions = 0
    for function in artifact_functions(artifact):
        functions += 1
        for instruction in reachable_instructions(function):
            code = instruction.code
            counts[code] = counts.get(code, 0) + 1
            if counts[code] == 1 and (instruction.is_invalid or not _needs(code) <= allowed):
                text = "(bad)" if instruction.is_invalid else formatter.format(instruction)
                first[code] = (function.name, instruction.ip, text)
    outside = tuple(
        Outside(
            code_name(code),
            tuple(sorted(_needs(code) - allowed)),
            *where,
            count=counts[code],
        )
        for code, where in first.items()
    )
    used: set[str] = set().union(*(_needs(code) for code in counts))
    return CodeProof(functions, sum(counts.values()), len(counts), tuple(sorted(used)), outside)


def function_features(artifact: bytes, index: int) -> tuple[str, ...]:
    """What one wasm function's code needs beyond x86-64-v1.

    Args:
        artifact: a compiled module.
        index: the function's index in it.
    """
    for function in artifact_functions(artifact):
        found = _WASM_FUNCTION.match(function.name)
        if found is not None and int(found[1]) == index:
            codes = {instruction.code for instruction in reachable_instructions(function)}
            return tuple(sorted(set().union(*(_needs(code) for code in codes))))
    return ()
