"""Writes the headers in native/isa/aarch64/candidates from candidates.list and the model.

`python -m tests.golden.aarch64.regenerate` writes, `--check` compares and exits 1 on a difference.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cpuprobe.facts.aarch64 import load_features
from tests.golden.aarch64 import ciphers, floats, general, integers, scalable
from tests.golden.aarch64.entries import CLASSES, FOLDER, Entry, read_list
from tests.golden.aarch64.inputs import INPUTS, SOURCE, TARGET, VARIANTS
from tests.golden.aarch64.machine import State, UnsupportedInstruction, execute
from tests.golden.headers import (
    GENERATED,
    MAXIMUM_RESULTS,
    Banks,
    ListError,
    Result,
    Sets,
    checksum,
    command,
    explicit,
    initializers,
    literal,
    sets_header,
    tables,
)

MODEL = (ciphers, floats, general, integers, scalable)
"""The modules that hold meanings: importing them registers those."""
_BANKS: Banks = {
    "GPR": lambda state, index: state.gpr[index],
    "VECTOR": lambda state, index: state.vector[index],
    "PREDICATE": lambda state, index: state.predicate[index],
    "FLAGS": lambda state, index: state.nzcv & index,
}
_SAVED = {"GPR": 16, "VECTOR": 8, "PREDICATE": 4}


def results_of(entry: Entry, state: State) -> list[Result]:
    """The locations to compare after a candidate: those that the model has written.

    Raises:
        ListError: none, or more than the core can compare, or one that it does not save.
    """
    results = explicit(entry.results, _BANKS) or [
        Result(kind, size, 1) if kind == "FLAGS" else Result(kind, index, size)
        for (kind, index), size in state.written.items()
    ]
    where = f"candidates.list:{entry.line}"
    if not 1 <= len(results) <= MAXIMUM_RESULTS:
        raise ListError(f"{where}: {len(results)} results, say which")
    for result in results:
        if result.index >= _SAVED.get(result.location, 4096):
            raise ListError(f"{where}: {result.location} {result.index} is not saved")
        if result.location == "GPR" and result.index in (SOURCE, TARGET):
            raise ListError(f"{where}: a result is an address")
    return results


def _run(entry: Entry, state: State) -> State:
    try:
        execute(entry.like or entry.text, state)
    except UnsupportedInstruction as error:
        raise ListError(f"candidates.list:{entry.line}: {entry.name}: {error}") from None
    return state


def expected(entry: Entry) -> tuple[list[Result], bytes, list[int]]:
    """Results, their bytes for the first input, and their checksums for the further ones.

    Raises:
        ListError: the model cannot say what the candidate does.
    """
    none = [0] * (VARIANTS - 1)
    if entry.check in ("RUNS", "HINT"):
        return [], b"", none
    data = INPUTS[entry.input]
    if entry.check == "RANDOM":
        return [], b"", none
    state = _run(entry, data.state())
    results = results_of(entry, state)
    first = b"".join(r.value(state, _BANKS) for r in results)
    if data.fixed or entry.check != "VALUE":
        return results, first, none
    sums = []
    for number in range(1, VARIANTS):
        varied = _run(entry, data.variant(number).state())
        sums.append(checksum(b"".join(r.value(varied, _BANKS) for r in results)))
        if sums[-1] == 0:
            raise ListError(f"candidates.list:{entry.line}: a checksum of 0 means no input")
    return results, first, sums


def row(number: int, entry: Entry, sets: Sets, kinds: dict[str, int]) -> str:
    """One CANDIDATE row of table.h; `kinds` has the sets of results so far, and gets new ones.

    Raises:
        ListError: the model cannot say what the candidate does.
    """
    if entry.input not in INPUTS:
        raise ListError(f"candidates.list:{entry.line}: no input set {entry.input!r}")
    if entry.register_class not in CLASSES:
        raise ListError(f"candidates.list:{entry.line}: no state {entry.state!r}")
    results, first, variants = expected(entry)
    kind = kinds.setdefault(initializers(results) or "{LOCATION_NONE, 0, 0}", len(kinds))
    words = ",".join(f"0x{word:08x}" for word in entry.words)
    return (
        f'CANDIDATE({number}, "{entry.name}", {sets.index(entry.features)}, "{words}",\n'
        f"          {entry.register_class}, {entry.input}, {entry.check}, {kind},\n"
        f"          {literal(first)}, VARIANTS({', '.join(f'{v:#x}' for v in variants)}))\n"
    )


def inputs_header() -> str:
    """The whole of inputs.h."""
    out = [f"/* {GENERATED} from tests/golden/aarch64/inputs.py: do not edit. */\n"]
    for name, data in INPUTS.items():
        gpr = ", ".join(f"{data.gpr.get(n, 0):#x}" for n in range(16))
        predicates = ", ".join(f"{p:#x}" for p in data.predicate)
        vectors = "\n              ".join(literal(v) for v in data.vectors)
        memory = "\n             ".join(literal(data.memory[n : n + 64]) for n in range(0, 256, 64))
        out.append(
            f"INPUT({name}, {str(not data.fixed).lower()}, GPRS({gpr}),\n"
            f"      PREDICATES({predicates}),\n"
            f"      VECTORS({vectors}),\n      MEMORY({memory}))\n"
        )
    return "".join(out)


def made(text: str) -> dict[str, str]:
    """Every header by its name, for the text of candidates.list. Raises ListError."""
    entries = read_list(text)
    table, results = tables(entries, row)
    return {
        "table.h": table,
        "results.h": results,
        "sets.h": sets_header(entries, list(load_features()), "features-aarch64.toml"),
        "inputs.h": inputs_header(),
    }


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Write the headers, or compare them with `--check`; returns the exit code."""
    return command(made, folder, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
