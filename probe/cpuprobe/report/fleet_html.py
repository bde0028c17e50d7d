"""A fleet as one self-contained HTML page with the coverage curve and the matrix drawn. Pure.

Like the report it needs no network and no script. The pictures are inline SVG; what they show
stands in tables as well, and nothing is told by colour alone.
"""

from __future__ import annotations

from cpuprobe.fleet.model import Fleet, Matrix, Share
from cpuprobe.report import fleet_words as words
from cpuprobe.report.fleet_pictures import (
    CELL,
    MODEL_CELLS,
    cell,
    curve_picture,
    flag_word,
    matrix_picture,
)
from cpuprobe.report.fleet_sets import grouped
from cpuprobe.report.pages import render

_MOST_ROWS = 50  # of a group or of findings
_MOST_STEPS = 48  # of the picture; the table has all
_NAME_CELLS = 90
# Kinds of profiles that are many, and that nobody builds for all of: they are folded away.
_LONG_KINDS = frozenset({"cpu", "gds-force", "preset"})
_LEGEND = (
    (1.0, "safe on all machines of the model"),
    (0.37, "on some: the number is percent"),
    (0.0, "on none"),
)


def to_html(fleet: Fleet) -> str:
    """The page of a fleet."""
    named = (
        *("basis_lines", "errors_line", "levels_of", "machines", "part", "percent", "percent_of"),
        *(
            "reference_lines",
            "rest_line",
            "short",
            "skipped_lines",
            "unknown_line",
            "verdict",
            "wanted",
        ),
    )
    return render(
        "fleet.html",
        **{name: getattr(words, name) for name in named},
        kind="fleet",
        version=fleet.cpuprobe,
        title=words.machines(fleet.total.machines),
        fleet=fleet,
        facts=_facts(fleet),
        target=words.main_target(fleet),
        curve=words.curve_rows(fleet.curve),
        nothing=words.NOTHING,
        grouped=grouped,
        losers=lambda step: ", ".join(map(words.short, step.losers)),
        capital=lambda text: text[:1].upper() + text[1:],
        curve_picture=curve_picture,
        matrix_picture=matrix_picture,
        legend=[(cell(share, 0, 0, CELL, 18), said) for share, said in _LEGEND],
        matrix_headings=_matrix_headings,
        long_kinds=_LONG_KINDS,
        most_rows=_MOST_ROWS,
        most_steps=_MOST_STEPS,
        most_cells=_NAME_CELLS,
        model_cells=MODEL_CELLS,
    )


def _facts(fleet: Fleet) -> list[tuple[str, str]]:
    facts = [
        ("machines", f"{fleet.total.machines:,}"),
        ("executed on", _told(fleet.executed, fleet)),
        ("with an error", _told(fleet.mismatched, fleet)),
        ("captures not read", f"{fleet.unread:,}"),
        ("flags of wasmtime", fleet.wasmtime),
        ("backend", fleet.backend),
    ]
    if words.weighted(fleet):
        facts.insert(1, ("weight", f"{fleet.total.weight:,.6g}"))
    return facts


def _told(share: Share, fleet: Fleet) -> str:
    return f"{share.machines:,} ({words.percent_of(share, fleet.total)})"


def _matrix_headings(matrix: Matrix) -> list[str]:
    return ["CPU model", "#of the fleet", *(f"#{flag_word(flag)}" for flag in matrix.columns)]
