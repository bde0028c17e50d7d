"""One test over many rows: pytest's own account of a test costs more than most of them take."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any


def every(rows: Iterable[Any], name: Callable[[Any], object] = str) -> Callable[..., Any]:
    """Makes a test that is called with each row in turn and then tells every row that fails.

    Args:
        rows: values of the test's last parameter; those before it are fixtures, as ever.
        name: what a row is called where it fails.
    """
    listed = list(rows)
    assert listed, "a test over no rows cannot fail"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(test)
        *fixtures, last = signature.parameters.values()

        def over_all(**given: Any) -> None:
            failures = []
            for row in listed:
                try:
                    test(**given, **{last.name: row})
                except AssertionError as error:
                    failures.append(f"{name(row)}: {error}")
                except Exception as error:
                    raise AssertionError(f"{name(row)}: {error!r}") from error
            assert not failures, "\n".join(failures)

        functools.update_wrapper(over_all, test)
        del over_all.__wrapped__  # type: ignore[attr-defined]  # pytest would take the row for a fixture
        over_all.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]
        return over_all

    return decorate
