"""What stands before every line of a pasted block: quote marks, stamps, names, numbers.

Some can be told by one line (a time stamp, a syslog header). A line number or a container's name
can not: those are taken off a run of lines only where what remains of one of them is a field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby, pairwise

# The heads of a plain diff's parts: what it marks with `<` is as much of it as what `>` marks.
_DIFF = re.compile(r"(?m)^[ \t]{0,16}\d{1,6}(?:,\d{1,6})?[acd]\d{1,6}(?:,\d{1,6})?[ \t]*$")
_OLD_SIDE = re.compile(r"(?m)^[ \t]{0,16}<[ \t]")
_NEW_SIDE = re.compile(r"(?m)^[ \t]{0,16}---[ \t]*$")
_QUOTES = re.compile(r"(?m)^[ \t]{0,16}(?:>[ \t]?){1,16}")

_TIME = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_ISO = rf"\d{{4}}[-/]\d\d[-/]\d\d[T ]{_TIME}(?:Z|[+-]\d\d:?\d\d)?"
_SURE = re.compile(
    "(?m)^[ \t]{0,8}(?:"
    # `gh run view --log`, GitHub Actions, GitLab, kubectl logs --timestamps, Python's logging
    rf"(?:[^\t\n]{{1,80}}\t[^\t\n]{{1,80}}\t)?{_ISO}"
    r"(?: \d\d[OE][+ ]?|[ \t]+[\w.-]{1,64} (?:kernel|[\w./@()-]{1,64}\[\d{1,8}\]):)?"
    r"(?:[ \t]+(?:-[ \t]+)?\[?(?:INFO|DEBUG|NOTICE|WARN(?:ING)?|ERROR)\]?(?:[ \t]*[:-])?)?"
    r"(?:[ \t]|$)"
    # [2024-02-27 16:20:34], [16:20:34], dmesg -T
    rf"|\[[^\][\n]{{0,24}}\d\d:\d\d(?::\d\d)?[^\][\n]{{0,24}}\](?:[ \t]|$)"
    # the kernel's log, with level, task or CPU; netconsole
    r"|(?:<\d{1,3}>)?\[[ ]{0,6}\+?\d{1,7}\.\d{6}\](?:\[[ ]{0,6}[TC]\d{1,8}\])?(?:[ ]|$)"
    # syslog and journalctl; their kernel lines keep the kernel's own stamp
    rf"|(?:<\d{{1,3}}>)?[A-Z][a-z]{{2}} [ \d]\d {_TIME} [\w.-]{{1,64}} "
    r"[\w./@()-]{1,64}(?:\[\d{1,8}\])?:(?:[ \t]|$)"
    rf"|{_TIME}(?:[ \t]|$)"
    r"|/proc/cpuinfo[:-](?:\d{1,7}[:-])?"
    r"|\[[ ]{0,4}\d{1,6}s\](?:[ ]|$)"  # Open Build Service
    r"|\(XEN\)(?:[ ]|$)"
    r"|#\d{1,4} \d{1,6}\.\d{1,3}(?:[ ]|$)"  # docker build
    r"|##\[(?:debug|section|command)\]"  # Azure Pipelines, GitHub Actions
    ")"
)
_UNSURE = {
    "container": re.compile(r"[\w.-]{1,64}[ ]{0,24}\|(?:[ ]|$)"),  # docker compose
    # kubectl logs --prefix, [INFO] of Maven
    "brackets": re.compile(r"\[(?=[\w./-]{0,99}[A-Za-z])[\w./-]{2,100}\](?:[ ]|$)"),
    "grep -n": re.compile(r"(?:[\w./-]{1,80}[:-])?\d{1,7}[:-](?![\s:/-])"),
    "cat -n": re.compile(r"[ ]{0,6}\d{1,7}\t"),
    "uniq -c": re.compile(r"[ ]{0,7}\d{1,7}[ ]{1,2}(?=\S|$)"),
    "host": re.compile(r"(?!cpu\d)[\w.-]{1,64}:(?:[ ](?=[\w \t]{2,24}(?:[ \t]:|:[ \t]{2}))|[ ]?$)"),
    "comment": re.compile(r"(?:#|//|--|;+|%|\*)[ \t]"),
}
_FIELD = re.compile(r"\{[\"']|[A-Za-z_\"][\w ().\"-]{0,60}[ \t]*[:=](?:[ \t]|$|\")")
_COUNTED = ("grep -n", "cat -n")
_NUMBER = re.compile(r"(\d{1,7})[:\t-]$")
_SHORTEST_RUN = {"brackets": 3, "host": 3, "comment": 3}
_ALIKE = ("brackets", "host")
_NESTED = 3


def without_quotes(text: str) -> str:
    """Without the `> ` of mails and issues, and both marks of a diff; indentation behind stays."""
    if "<" in text and _DIFF.search(text) is not None:
        text = _NEW_SIDE.sub("the other side:", _OLD_SIDE.sub("", text))
    return _QUOTES.sub("", text) if ">" in text else text


def without_prefixes(text: str) -> str:
    """Without stamps, log headers, container names and line numbers before the lines of a block."""
    for _ in range(_NESTED):
        before = text
        if _SURE.search(text) is not None:
            text = _SURE.sub("", text)
        text = _without_unsure(text)
        if text == before:
            break
    return text


def _without_unsure(text: str) -> str:
    lines = text.split("\n")
    for name, prefix in _UNSURE.items():
        # A prefix of every line begins with a letter, a digit, a blank or a mark; most texts have
        # no line at all that begins like one, which one look at the lines shows.
        lengths = [match.end() if (match := prefix.match(line)) else 0 for line in lines]
        if any(lengths):
            lines = list(_runs_cut(lines, lengths, name))
    return "\n".join(lines)


def _runs_cut(lines: list[str], lengths: list[int], name: str) -> Iterator[str]:
    """The lines, with those runs' prefixes taken off in which a field follows one.

    A container's name before several lines needs no field behind it, nor do lines counted up.
    """
    for has_prefix, run in groupby(range(len(lines)), key=lambda number: lengths[number] > 0):
        places = list(run)
        cut = [lines[place][lengths[place] :] for place in places]
        prefixes = [lines[place][: lengths[place]] for place in places]
        alike = len({prefix.rstrip() for prefix in prefixes}) == 1
        worth = has_prefix and len(places) >= _SHORTEST_RUN.get(name, 1)
        if worth and name in _ALIKE:
            worth = alike
        telling = len(places) > 1 and (
            alike if name == "container" else name in _COUNTED and _counted(prefixes)
        )
        if worth and (telling or any(_FIELD.match(each) for each in cut)):
            yield from cut
        else:
            yield from (lines[place] for place in places)


def _counted(prefixes: list[str]) -> bool:
    """Whether line numbers go up by one from line to line."""
    numbers = [int(match[1]) if (match := _NUMBER.search(each)) else -1 for each in prefixes]
    return all(after == before + 1 for before, after in pairwise(numbers))
