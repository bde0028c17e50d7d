"""Lines and tables for a terminal of any width."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpuprobe.report.layout import Styled, cells, fold, paragraph, pieces, table, text_of

WORDS = st.text(alphabet="ab \u4e2d\u0301\u202e\x1b", max_size=60)


@given(WORDS, WORDS, st.integers(2, 40))
def test_a_folded_line_fits_and_loses_nothing_but_blanks(first, second, width):
    """However it is broken, no line is wider, and every word is there in its style."""
    lines = fold((Styled(first, "bold"), second), width)

    assert all(cells(text_of(line)) <= width for line in lines)
    told = "".join(text_of(line) for line in lines)
    assert told.replace(" ", "") == text_of((first, second)).replace(" ", "")
    bold = "".join(text for line in lines for text, style in pieces(line) if style)
    assert bold.replace(" ", "") == text_of(first).replace(" ", "")


def test_words_stay_whole_where_they_can():
    """Lines are broken at blanks; only a word wider than the line is broken."""
    assert [text_of(each) for each in fold("one two three", 7)] == ["one two", "three"]
    assert [text_of(each) for each in fold("a abcdefgh", 4)] == ["a", "abcd", "efgh"]


def test_wide_characters_take_two_columns_and_marks_none():
    """As a terminal shows them."""
    assert cells("\u4e2d\u6587") == 4
    assert cells("e\u0301") == 1


def test_a_paragraph_hangs_below_its_lead():
    """What follows the first line begins below the text, not below the lead."""
    told = [text_of(each) for each in paragraph("one two three", 12, "  key", 6)]

    assert told == ["  key one", "      two", "      three"]


@pytest.mark.parametrize("width", [20, 30, 100])
def test_a_table_fits_and_gives_way_where_it_is_widest(width):
    """Narrow columns stay whole as long as a wider one can be folded."""
    rows = [("1", "short", "a long cell of many words that must be folded"), ("22", "x", "y")]
    told = [text_of(each) for each in table(("no", "name", "text"), rows, width, 1)]

    assert all(len(line) <= width and line == line.rstrip() for line in told)
    assert told[0].startswith("no  name   text")
    assert told[1].startswith(" 1  short  a")
    assert " ".join(line[11:].strip() for line in told[1:-1]).split() == rows[0][2].split()


def test_cells_of_several_lines_stand_beside_each_other():
    """A cell may begin anew."""
    told = [text_of(each) for each in table(("", ""), [(["a", "b"], "c")], 10)]

    assert told == ["a  c", "b"]
