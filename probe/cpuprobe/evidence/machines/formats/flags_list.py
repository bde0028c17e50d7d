"""The kernel's list of flags wherever it stands: behind any label, in JSON, bare, a word a line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.kernel_list import (
    BEGIN,
    SPELLINGS,
    gather,
    is_list,
    isa_of_arm_list,
    linux_words,
)
from cpuprobe.evidence.machines.names import claims_of_names, feature_named
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Cpuinfo, ToldIdentity

_SOURCE = "flags-list"
_LABELLED = re.compile(
    r"^[^:=]{0,60}\bflags?\b(?: \([^():=]{1,40}\))?[^:=]{0,10}[:=][\"' ]{0,3}(.+)$", re.IGNORECASE
)
# A label of what a machine has not got, or of what somebody builds for.
_DENYING = re.compile(
    r"\b(?:absent|missing|not|no|without|lack\w*|unsupported|unavailable|disabled|compil\w*|build)\b",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"[(\[][^)\]]{0,20}\b(?:no|not|without|missing|lacks?)\b", re.IGNORECASE)
# Tables of such names in sources of emulators and kernels.
_CODE = re.compile(r"^[ \t]*(?:static|const|#define|struct)\s|feat_names|\bNULL\b", re.MULTILINE)
# With or without the count of `uniq -c`.
_ALONE = re.compile(r"^[ \t\"'*]*(?:\d{1,7} )?([a-z0-9_.]{2,20})[ \t\"',*]*$")
# hardinfo's: a word and what it means.
_DESCRIBED = re.compile(r"^[ \t]*([a-z0-9_]{2,20})[ \t]{1,20}:[ \t]{1,4}\S")
_OF_HARDINFO = "-Capabilities-"
# A list of Python's, as py-cpuinfo hands it out: sorted.
_MOST_OF_PYTHON = 16
_PYTHON = re.compile(r"\[(?=(?:'[a-z0-9_]{2,20}', ){7})")
_BRAND = re.compile(r"model[ _]name[\"']?\s*[:=]\s*[\"']?([^\"'\n]{3,80})")
_VENDOR = re.compile(r"\b(GenuineIntel|AuthenticAMD|HygonGenuine|CentaurHauls)\b")
_WIDE = re.compile(r"[ \t]{2,}|\t")
_SHORTEST = 2
_FEWEST_NAMES = 3
# A word a line of an ordinary text may be one of these.
_ORDINARY = frozenset(
    {"up", "de", "ss", "cid", "mp", "always", "est", "msr", "ht", "tm", "lm", "ida"}
)


def _read(paste: Paste) -> Iterator[Sighting]:
    brand = _BRAND.search(paste.text)
    vendor = _VENDOR.search(paste.text)
    identity = ToldIdentity(
        vendor=vendor[1] if vendor else None,
        brand=_WIDE.split(brand[1].strip())[0] if brand else None,
    )
    lists = list(_lists(paste)) or list(_columns(paste))
    if not lists:
        yield from _in_words(paste, identity)
    for number, block, isa in lists:
        yield Sighting(
            source=_SOURCE,
            line=number,
            isa=isa,
            identity=identity,
            cpuinfo=(block,) if isa is None else (),
        )


def _lists(paste: Paste) -> Iterator[tuple[int, Cpuinfo, str | None]]:
    number = of_python = 0
    lines = paste.lines
    of_code = _CODE.search(paste.text) is not None
    while number < len(lines):
        line = lines[number]
        value: str | None = None
        if (begin := BEGIN.search(line)) is not None:
            value = line[begin.start() :]
        elif of_python < _MOST_OF_PYTHON and (python := _PYTHON.search(line)) is not None:
            of_python += 1
            words = line[python.end() :].partition("]")[0].replace("'", " ")
            value = words if is_list(words) else None
        elif (match := _LABELLED.match(line)) is None or _DENYING.search(line[: match.start(1)]):
            pass  # what is not there, or what somebody builds for
        elif is_list(match[1]):
            value = _ASIDE.split(match[1])[0]
        elif (arm := isa_of_arm_list(match[1].split())) is not None:
            yield number, Cpuinfo((0,), {}), arm
        misread = value is not None and "ia64" in value.split()  # the registry of Windows
        if value is None or misread or (of_code and '"' in value):
            number += 1
            continue
        value = value.replace('"', " ").split("</")[0]
        found = gather(lines, number, value, keyed=False)
        number = found.end
        if found.words:
            yield found.end - 1, Cpuinfo((0,), _fields(found.words), found.incomplete), None


def _in_words(paste: Paste, identity: ToldIdentity) -> Iterator[Sighting]:
    """A label and names as people write them, `AVX2, BMI1, SSE4.2`: positive only."""
    for number, match in paste.matches(_LABELLED):
        if _DENYING.search(match[0]):
            continue
        names = match[1].replace(",", " ").split()
        yes = [name for name in names if feature_named(name.strip("\"'.;*`")) is not None]
        if len(yes) >= _FEWEST_NAMES and 2 * len(yes) > len(names):
            claims = claims_of_names(_SOURCE, "kernel", (name.strip("\"'.;*`") for name in yes))
            yield Sighting(source=_SOURCE, line=number, identity=identity, claims=(claims,))


def _columns(paste: Paste) -> Iterator[tuple[int, Cpuinfo, str | None]]:
    """`grep -o` and the like: known words, one a line; they are those that somebody asked for."""
    lists: list[dict[str, int]] = [{}]
    of_linux = True
    form = _DESCRIBED if _OF_HARDINFO in paste.text else _ALONE
    for number, line in enumerate(paste.lines):
        match = form.match(line)
        word = SPELLINGS.get(match[1], match[1]) if match is not None else ""
        of_linux = of_linux and (match is None or match[1] not in SPELLINGS)
        if word in linux_words():
            if word == "fpu" and "fpu" in lists[-1]:  # another CPU's, or another machine's
                lists.append({})
            lists[-1].setdefault(word, number)
    for words in lists:
        if len(words.keys() - _ORDINARY) >= _SHORTEST:
            whole = of_linux and {"fpu", "lm"} <= words.keys() and len(words) > 40
            block = Cpuinfo((0,), _fields(tuple(words)), None if whole else "short")
            yield min(words.values()), block, None


def _fields(words: tuple[str, ...]) -> dict[str, str]:
    return {"flags": " ".join(words)[:16384]}


FORMAT = Format(
    title="a list of the kernel's flags behind any label, in JSON, bare, or a word a line",
    carries="the list, whole where it shows no sign of a cut, else positive only",
    evidence="kernel",
    make="grep -m1 flags /proc/cpuinfo",
    read=_read,
)
