"""aarch64: every candidate is what its name says, and what is generated is current."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest
from tests.golden.aarch64 import regenerate
from tests.golden.aarch64.entries import FOLDER, read_list
from tests.golden.headers import ListError
from tests.required import required
from tests.tools import native_facts_aarch64

from cpuprobe.code import a64
from cpuprobe.facts.aarch64 import load_features

TEXT = (FOLDER / "candidates.list").read_text(encoding="ascii")
ENTRIES = read_list(TEXT)
# Features that programs can need and no instruction of a program can show.
NOT_EXECUTABLE = {
    "ls64": "only device memory takes it",
}
# Newer than binutils 2.40, with which CI assembles; 2.44 and LLVM 22 gave the same words.
UNKNOWN_TO_ASSEMBLER = """
cmpbr f8f16mm f8f32mm faminmax fp8 fp8dot2 fp8dot4 fp8fma fpmr fprcvt gcs lse128 lsfe lut poe
rcpc3 rprfm sme-b16b16 sme-f16f16 sme-f8f16 sme-f8f32 sme-lutv2 sme-mop4 sme-tmop sme2 sme2p1
sme2p2 smebi32i32 smei16i32 ssve-fp8dot2 ssve-fp8dot4 ssve-fp8fma sve-aes2 sve-b16b16
sve-bfscale sve-f16f32mm sve2p1 sve2p2 sveeltperm
"""


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


def test_names():
    """A sequence is called by one of its instructions, the one that the feature brings."""
    assert [e.name for e in ENTRIES if e.name not in e.text.split("; ") and e.name != e.text] == []


def test_words_are_what_an_assembler_makes(tmp_path: Path):
    """GNU as gives the same words, but for what is newer than it."""
    assembler, copier = required("aarch64-linux-gnu-as"), required("aarch64-linux-gnu-objcopy")
    rows = [
        (re.sub(r"^(bc\..*?|cb.* )#(\d+)$", r"\1.+\2", instruction), word, entry)
        for entry in ENTRIES
        for instruction, word in zip(entry.text.split("; "), entry.words, strict=True)
    ]

    def assemble(wanted: list[str]) -> str:
        (tmp_path / "a.s").write_text("\n".join(wanted) + "\n")
        command = [assembler, "-march=all", "-o", "a.o", "a.s"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stderr

    refused = {int(n) - 1 for n in re.findall(r"a\.s:(\d+): Error", assemble([r[0] for r in rows]))}
    known = [row for n, row in enumerate(rows) if n not in refused]
    assert assemble([row[0] for row in known]) == ""
    subprocess.run(
        [copier, "-O", "binary", "-j", ".text", "a.o", "a.bin"], cwd=tmp_path, check=True
    )
    words = struct.unpack(f"<{len(known)}I", (tmp_path / "a.bin").read_bytes())

    assert {r[0]: hex(w) for r, w in zip(known, words, strict=True) if r[1] != w} == {}
    assert {name for n in refused for name in rows[n][2].features} <= {
        *UNKNOWN_TO_ASSEMBLER.split()
    }


# Armv8.0-A's own, or such a one in a way that only the feature allows; a hint, SETF8 and SETF16.
WITHOUT_ROW = {"fp-armv8", "neon", "lse2", "sme-fa64", "rprfm", "flagm"}


def test_words_are_what_the_table_of_instructions_calls_them():
    """profiles/instructions-aarch64.toml is made from LLVM: where it has a word, the same name."""
    unnamed = set()
    for entry in ENTRIES:
        found = [a64.row_of(word) for word in entry.words]
        named = [
            (instruction.split()[0], row.mnemonic.split()[0])
            for instruction, row in zip(entry.text.split("; "), found, strict=True)
            if row is not None
        ]
        assert [pair for pair in named if pair[0] != pair[1]] == [], entry.name
        if not named:
            unnamed.add(entry.features[-1])

    assert unnamed <= WITHOUT_ROW


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
