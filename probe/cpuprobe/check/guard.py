"""Does a file choose at run time whether it executes what a machine lacks? From evidence, and pure.

What tells a build for a newer CPU from islands that a program chooses is whether such code is come
to without a choice (code.reach). Where that was not followed to its end, how far it is spread
tells: in builds for x86-64-v3 it stands in 57 % of all larger functions and more, where a file
chooses in 56 % at most (measured: daft, polars, RAxML, rapidfuzz's modules for AVX2; Embree, BLIS,
Hyperscan, OpenBLAS, NumPy, SVT-AV1, wasmtime, glibc): so close that only more is taken for a build.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from cpuprobe.code.needs import SPREAD, Needs
from cpuprobe.words import counted, names

VARIANTS = 4
"""Functions that one choice at load time is between, at most: libmvec has three to each."""
MOST_SIGNS = 6
"""As many signs of a choice are shown."""
ENOUGH = 40
"""Functions below which a share says nothing."""


_DOUBTS = {
    "executable": "whether a run comes there was not followed to the end",
    "library": "it runs only if its callers keep it from these functions",
    "object": "it runs only if the rest of its program keeps it from these functions",
}
_BY = {
    "run": "what every run executes",
    "load": "what every load executes",
    "export": "a function that others may call",
    "handed": "a function that is handed to others",
}


class Evidence(NamedTuple):
    """What speaks for a choice, or against one.

    Attributes:
        guarded: the file chooses.
        reason: the end of a sentence that begins with what the file contains.
    """

    guarded: bool
    reason: str


def evidence(needs: Needs, missing: Collection[str]) -> Evidence:
    """Weighs what is known of a file.

    Args:
        needs: what it holds.
        missing: the features that the machine lacks, at least one.
    """
    lacking = set(missing)
    reached = {name: address for name, address in needs.reached.items() if name in lacking}
    functions = sum(row.functions for row in needs.spread if lacking & {*row.features})
    pages = sum(row.pages for row in needs.spread if lacking & {*row.features})
    of = needs.coverage.functions
    share = functions / of if of >= ENOUGH else 0.0
    signs = ", ".join(needs.dispatch[:MOST_SIGNS])
    where = (
        f"in {functions:,} of {counted(of, 'larger function')} and on {pages:,} "
        f"of {counted(needs.coverage.pages, 'page')}"
    )
    if reached:
        first = min(reached, key=lambda name: reached[name].address)
        way = reached[first]
        chooses = f"the file can choose: {signs}" if signs else "nothing in this file chooses"
        doubt = f": {_DOUBTS['library']}" if way.by == "export" and not signs else ""
        return Evidence(
            False,
            f"{where}; {first} at {way.address:#x} is reached from {_BY[way.by]} "
            f"({way.name or hex(way.begins)}), and no choice was found before it "
            f"({chooses}){doubt}",
        )
    if not needs.dispatch:
        by_name = needs.followed or lacking <= {*needs.named}
        if needs.kind in ("library", "object") and by_name:
            return Evidence(
                True,
                f"{where}; nothing in this file chooses, and nothing comes there but functions "
                "that are named or listed for such CPUs: their callers choose",
            )
        doubt = _DOUBTS.get(needs.kind, "")
        return Evidence(False, f"{where}; nothing in this file chooses at run time: {doubt}")
    if share >= SPREAD and functions > VARIANTS * needs.ifuncs and not needs.followed:
        return Evidence(
            False,
            f"{where}: spread through it, as in a build for {names(sorted(lacking), 6)}; that it "
            f"can choose ({signs}) does not guard so much, as far as was followed",
        )
    return Evidence(
        True,
        f"{where}, which it can choose at run time: {signs}; what comes there without a choice "
        + ("was looked for and not found" if needs.followed else "was not followed to the end"),
    )
