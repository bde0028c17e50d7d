"""aarch64: every candidate is what its name says, and what is generated is current."""

from __future__ import annotations

import pytest
from tests.golden.aarch64 import regenerate
from tests.golden.aarch64.entries import FOLDER, ListError, read_list
from tests.tools import native_facts_aarch64

from cpuprobe.facts.aarch64 import load_features

TEXT = (FOLDER / "candidates.list").read_text(encoding="ascii")
ENTRIES = read_list(TEXT)
# Features that programs can need and no instruction of a program can show.
NOT_EXECUTABLE = {
    "ls64": "only device memory takes it",
}


def test_generated_headers_are_current():
    """table.h and the like are what the model makes of candidates.list, facts.h of the table."""
    for name, text in regenerate.made(TEXT).items():
        assert (FOLDER / name).read_text(encoding="ascii") == text, f"{name}: run `make golden`"

    header = native_facts_aarch64.header()

    assert native_facts_aarch64.HEADER.read_text(encoding="ascii") == header


def test_every_feature_has_a_candidate():
    """Whatever executing can confirm is executed; all but hints, privileged and bundled ones."""
    covered = {name for entry in ENTRIES for name in entry.features if entry.check != "HINT"}
    wanted = {name for name, row in load_features().items() if row.for_programs}

    assert wanted - covered == NOT_EXECUTABLE.keys()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("sve | add z0.s, z1.s, z2.s | 04a20020", "expected features"),
        ("sve | add z0.s, z1.s, z2.s | 4a20020 | int", "eight hexadecimal digits"),
        ("sve | add z0.s, z1.s, z2.s; nop | 04a20020 | int", "a word for each"),
        ("sve | add z0.s, z1.s, z2.s | 04a20020 | int | odd", "unknown field"),
        ("sve | ad z0.s, z1.s, z2.s | 04a20020 | int", "no meaning for ad"),
        ("sve | add z9.s, z1.s, z2.s | 04a20020 | int", "not saved"),
        ("sve | add z0.s, z1.s, z2.s | 04a20020 | nothing", "no input set"),
        ("svi | add z0.s, z1.s, z2.s | 04a20020 | int", "no such feature"),
        ("neon | smax z0.s, p0/m, z8.s, q | 04a20020 | int", "no register"),
    ],
)
def test_a_wrong_line_is_refused(line: str, reason: str):
    """With its number and in words."""
    with pytest.raises(ListError, match=reason):
        regenerate.made(line)
