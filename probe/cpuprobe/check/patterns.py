"""Names that last from one build to the next: without hashes, with wildcards. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from cpuprobe.code.archives.fat import SLICES
from cpuprobe.code.elf import LONGEST_NAME

# rustc's legacy mangling ends a name in 17h, 16 hex digits and E; demangled it is ::h and these.
# Its v0 mangling puts a hash of the crate between C and the crate's name (RFC 2603), and numbers
# positions in the name (B), which move with the hash's length. ThinLTO adds .llvm. and a hash.
_LEGACY = re.compile(r"17h[0-9a-f]{16}E")
_DEMANGLED = re.compile(r"::h[0-9a-f]{16}\b")
_CRATE = re.compile(r"Cs[0-9A-Za-z]*_(?=u?[0-9])")
_BACK = re.compile(r"B[0-9A-Za-z]*_")
_CUT = re.compile(r"17h[0-9a-f]{0,16}$")
_LLVM = re.compile(r"\.llvm\.[0-9]+")

# auditwheel copies a library under its name, a dash and 8 hex digits of its content; and a copy of
# a copy has two of these.
_COPIED = re.compile(r"(?:-[0-9a-f]{8})+(?=\.)")
# What a Python module's name says of the ABI (PEP 3149; abi3: PEP 384).
_ABI = re.compile(r"\.(?:abi3|(?:cpython|cp|pypy|graalpy)[-\w]+)(?=\.(?:so|pyd)$)")
# Of an archive's name what a release changes: from its version on (PEP 427: name, version, tags).
_RELEASE = re.compile(
    r"(?<=[-_])v?\d[^/!]*?(?=\.(?:whl|tgz|deb|rpm|apk|nupkg|jar|zip|tar(?:\.\w+)?)!)"
)
_BETWEEN = re.compile("[/!]")
_DEEPEST = 32


def lasting_symbol(name: str) -> str:
    """A symbol without what a compiler makes anew for each build, as long as symbols are read."""
    if len(name) >= LONGEST_NAME:
        name = _CUT.sub("", name[:LONGEST_NAME])
    if name.startswith("_R"):
        name = _BACK.sub("B_", _CRATE.sub("C", name))
    return _LLVM.sub("", _DEMANGLED.sub("", _LEGACY.sub("E", name)))


def lasting_file(name: str) -> str:
    """A file's name without the hash that auditwheel puts into it."""
    return _COPIED.sub("", name)


def without_abi(name: str, instead: str = "") -> str:
    """The name of a Python module's file without the ABI that it is for."""
    return _ABI.sub(instead, name)


def of_any_release(path: str) -> str:
    """A path in an archive with `*` for the archive's version, as an allow-list has it."""
    return _RELEASE.sub("*", path)


def ends(path: str) -> Iterator[str]:
    """The ends of a path that tell of one file, the shortest first.

    `!` stands before what lies in an archive. A slice of a universal file has no name of its own.
    """
    for found in reversed(list(_BETWEEN.finditer(path))[-_DEEPEST:]):
        end = path[found.end() :]
        if end not in SLICES:
            yield end
    yield path


def excluded_by(pattern: str) -> str:
    """What a file is called that `--exclude` leaves out; with an s behind `file` it is several."""
    return f"file excluded by {pattern}"


def excluder(patterns: Sequence[str]) -> Callable[[str], str]:
    """What a path is called that is like one of some patterns (`excluded_by`); empty: like none.

    As `tar --exclude` has it, a pattern may begin at any folder or archive of the path, and what it
    is like is left out with all that lies in it.
    """
    known = [
        (glob(f"*/{pattern.replace('!', '/').strip('/')}/*"), excluded_by(pattern))
        for pattern in patterns
    ]

    def excluded(path: str) -> str:
        parts = f"/{path.replace('!', '/')}/"
        return next((called for like, called in known if like(parts)), "")

    return excluded


def glob(pattern: str) -> Callable[[str], bool]:
    """Whether a text is like a pattern, in which `*` stands for any characters, and nothing else.

    It costs no more than a search for each piece, whatever pattern and text are.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return first.__eq__
    *middle, last = rest

    def like(text: str) -> bool:
        end = len(text) - len(last)
        if len(first) > end or not (text.startswith(first) and text.endswith(last)):
            return False
        at = len(first)
        for piece in middle:
            at = text.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True

    return like
