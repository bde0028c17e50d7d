"""What a form of instruction needs is said once: by the table that `make gen` makes."""

from __future__ import annotations

import json
import re

import pytest
from tests.tools import forms as maker

from cpuprobe.code.decode import decode
from cpuprobe.code.forms import forms
from cpuprobe.errors import CannotMeasureError
from cpuprobe.facts.features import load_features
from cpuprobe.facts.tables import load_table

iced_x86 = pytest.importorskip("iced_x86")
Code = iced_x86.Code


def test_the_table_is_current():
    """`make gen` would write what is there."""
    assert maker.PATH.read_text(encoding="ascii") == maker.make()


def test_every_code_has_one_meaning():
    codes = sorted(value for name, value in vars(Code).items() if name.isupper())
    covered = [
        code
        for meaning in forms().meanings
        for first, last in zip(meaning.codes[::2], meaning.codes[1::2], strict=True)
        for code in range(first, last + 1)
    ]

    assert sorted(covered) == codes


@pytest.mark.parametrize(
    ("code", "features"),
    [
        # SDM vol. 2: EVEX.128 needs AVX512VL and AVX512F; a VEX one has an AVX2 row of its own.
        (Code.EVEX_VPADDD_XMM_K1Z_XMM_XMMM128B32, {"avx512f", "avx512vl"}),
        (Code.VEX_VPADDD_YMM_YMM_YMMM256, {"avx2"}),
        (Code.VEX_VZEROUPPER, {"avx"}),
        # Of one mnemonic the form in memory is AVX's, that in a register AVX2's (VBROADCAST).
        (Code.VEX_VBROADCASTSS_XMM_M32, {"avx"}),
        (Code.VEX_VBROADCASTSS_XMM_XMM, {"avx2"}),
        # AMD's and Intel's manuals: a bit of its own in 64-bit mode.
        (Code.LAHF, {"sahf"}),
        (Code.ADD_RM32_R32, set()),
    ],
)
def test_features_of_forms(code, features):
    assert set(forms().meaning(code).features) == features


@pytest.mark.parametrize(
    ("code", "features"),
    [
        ("0f0d10", ()),  # PREFETCHWT1 [rax]
        ("0f0d08", ("prfchw",)),  # PREFETCHW [rax]
        ("0f18f8", ()),  # in the space of NOP r/m32
        ("0f1c00", ("cldemote",)),  # CLDEMOTE [rax]
    ],
)
def test_explain_and_check_agree_on_hints(code, features):
    """No x86-64 CPU faults on these: `explain` says hint or baseline, and `check` needs nothing."""
    (one,) = decode(bytes.fromhex(code))
    meaning = forms().meaning(iced_x86.Decoder(64, bytes.fromhex(code)).decode().code)

    assert one.features == features
    assert one.other == ()
    assert one.kind in ("hint", "baseline")
    assert meaning.needs == ()


def test_no_form_is_judged_in_two_ways():
    """What `explain` says needs nothing `check` does not count, and the other way round."""
    known = forms()
    for code in (value for name, value in vars(Code).items() if name.isupper()):
        meaning = known.meaning(code)
        if meaning.marks & {"harmless", "unsought", "xgetbv", "invalid"}:
            assert meaning.needs == ()
        elif "hint" in meaning.marks:
            told = {name for name in meaning.features if not load_features()[name].hint}
            assert told <= {"shstk"}  # RDSSP, the only form of it that is in the space of NOPs
            assert meaning.needs == ()
            assert not meaning.unknown
        else:
            assert meaning.needs == meaning.features


def test_the_names_in_the_baseline_table_exist():
    """A misspelt name would silently mean nothing."""
    table = load_table("baseline")
    mnemonics = [name for row in table["forms"].values() for name in row]

    assert {name for row in table["iced"].values() for name in row} <= set(
        vars(iced_x86.CpuidFeature)
    )
    assert set(mnemonics) <= set(vars(iced_x86.Mnemonic))
    assert set(table["forms"]["needs"].values()) <= set(load_features())


def test_another_decoder_is_refused(monkeypatch, tmp_path):
    """The numbers of another iced-x86's codes may be others: nothing is guessed."""
    table = json.loads(maker.PATH.read_text())
    table["decoder"] += 1
    (tmp_path / "forms.json").write_text(json.dumps(table))
    monkeypatch.setattr("cpuprobe.code.forms.tables_folder", lambda: str(tmp_path))
    from cpuprobe.code import forms as module

    module._table.cache_clear()
    try:
        with pytest.raises(CannotMeasureError, match=re.escape("iced-x86")):
            forms.__wrapped__()
    finally:
        module._table.cache_clear()
