"""A test over many rows fails where a row does, and names it."""

import pytest
from tests.every import every


def test_each_failing_row_is_named():
    """All rows are tried, not only those before the first failure."""
    tried = []

    @every([1, 2, 3, 4], "row {}".format)
    def odd(number):
        tried.append(number)
        assert number % 2

    with pytest.raises(AssertionError, match=r"(?s)^row 2: .*\nrow 4: "):
        odd()
    assert tried == [1, 2, 3, 4]


def test_an_error_is_named_too():
    """Whatever is raised, the row that raised it is told."""

    @every("ab")
    def broken(letter):
        raise KeyError(letter)

    with pytest.raises(AssertionError, match=r"^a: KeyError\('a'\)"):
        broken()


def test_no_rows_are_a_mistake():
    """A table that came out empty must not look like a success."""
    with pytest.raises(AssertionError, match="no rows"):
        every([])


@pytest.mark.parametrize("given", ["x"])
@every([(1, 2), (3, 4)])
def test_fixtures_and_parameters_come_first(tmp_path, given, row):
    """Those are pytest's; the row is the last."""
    assert (tmp_path.is_dir(), given, len(row)) == (True, "x", 2)
