"""Harmless text: wrapped, cleaned for a terminal, and the phrases that all rooms use. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

WIDTH = 100
"""Columns of a text that is for no terminal."""
_columns = ContextVar("_columns", default=WIDTH)
HERE = "this machine"
"""What this machine is called where another has the name of its capture."""


def columns() -> int:
    """How wide a line of text may be: what `within` says, else `WIDTH`."""
    return _columns.get()


@contextmanager
def within(width: int) -> Iterator[None]:
    """Has lines made for so many columns; for whoever prints them, and knows the terminal."""
    before = _columns.set(width)
    try:
        yield
    finally:
        _columns.reset(before)


def wrapped(text: str, first: str = "", rest: str = "", *, whole: bool = False) -> list[str]:
    """Text as lines of at most `columns()`.

    Args:
        text: what to wrap; words with hyphens stay whole.
        first: what stands before the first line.
        rest: what stands before the others.
        whole: a word that is longer than a line stands out, and is not broken.
    """
    import textwrap  # the main job has nothing to wrap, nor has `run`

    return textwrap.wrap(
        text,
        max(columns(), len(rest) + 1),
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=not whole,
    )


def cut(line: str) -> str:
    """A line that is not longer than `columns()`, its end left out if it must be."""
    return line if len(line) <= columns() else line[: columns() - 3] + "..."


# Everything that moves the cursor, hides or reorders text: C0, C1, line and paragraph separators,
# zero-width and bidirectional controls (Unicode 15, categories Cc, Cf, Zl, Zp; CVE-2021-42574).
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e0fff\ud800-\udfff]"
)


def visible(line: str) -> str:
    """A line that does nothing to a terminal: invisible characters as U+FFFD, tabs as a blank."""
    if line.isprintable():
        return line
    return _INVISIBLE.sub("\ufffd", line.replace("\t", " "))


def plain(text: str) -> str:
    """Text from a capture as one harmless line, blanks of any kind folded."""
    return visible(" ".join(text.split()))


def json_escape(match: re.Match[str]) -> str:
    """What stands for the matched characters in a string of JSON (RFC 8259, section 7)."""
    units = match.group().encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def visible_json(document: bytes) -> bytes:
    """The same JSON without invisible characters; between its strings only line feeds may stand."""
    if document.isascii() and b"\x7f" not in document:
        return document
    lines = document.decode().split("\n")
    return "\n".join(_INVISIBLE.sub(json_escape, line) for line in lines).encode()


def answer(witness: bool | None) -> str:
    """What a witness says, as a word."""
    return "-" if witness is None else "yes" if witness else "no"


def counted(number: int, thing: str) -> str:
    """A number of things: `1 machine`, `2,000 machines`."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def names(features: Iterable[str], most: int = 8) -> str:
    """Feature names as a phrase, cut after `most`."""
    listed = list(features)
    if len(listed) > most:
        return ", ".join(listed[:most]) + f" and {len(listed) - most} more"
    if len(listed) > 1:
        return ", ".join(listed[:-1]) + " and " + listed[-1]
    return "".join(listed)


def cpu_list(cpus: Iterable[int]) -> str:
    """CPU numbers in the kernel's list notation: `0-3,8`."""
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def on_cpus(cpus: Sequence[int], of: int) -> str:
    """Which CPUs of how many: `both CPUs`, `all 4 CPUs`, `CPU 0`, `CPUs 0-3,8`."""
    if len(cpus) == of > 1:
        return "both CPUs" if of == 2 else f"all {of:,} CPUs"
    return f"CPU{'' if len(cpus) == 1 else 's'} {cpu_list(cpus)}"


def base_name(path: str) -> str:
    """The last part of a path of either system, cut to a sane length, as one harmless line."""
    name = path.replace("\\", "/").rstrip("/").rpartition("/")[2][:120]
    return plain(name)
