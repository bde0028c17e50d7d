"""A short text for cache keys: what compiled code may depend on here.

The key names a psABI level and the safe features beyond it, `x86-64-v3+aes+pclmul`, so that it can
be read, compared, and asked whether a cache made under it may be used on another machine: its
features must all be safe there, more do no harm.
"""

from __future__ import annotations

import hashlib
import re

from cpuprobe.emit.choose import FlagSet
from cpuprobe.errors import UsageError
from cpuprobe.facts.isa import AARCH64, X86_64, facts_named

_WORD = re.compile(r"[a-z0-9][a-z0-9.-]{0,31}")
LONGEST = 4096
"""Characters of a key that are read: every feature of the table takes a quarter of it."""


def cache_key(flags: FlagSet) -> str:
    """The key of what may be used: the level, then features in the order of the table.

    Hints and what only a kernel can use are left out: no program depends on them.

    Raises UsageError where not even the lowest level is known to be safe.
    """
    if flags.level is None:
        lowest = facts_named(flags.isa).levels()[0].name
        raise UsageError(f"no key: not all of {lowest} is known to be safe there")
    facts = facts_named(flags.isa)
    within = next(frozenset(e.features) for e in facts.levels() if e.name == flags.level)
    beyond = [
        name
        for name, row in facts.features().items()
        if row.for_programs and name in flags.safe and name not in within
    ]
    return "+".join((flags.level, *beyond))


def digest(key: str) -> str:
    """Sixteen hexadecimal digits in place of a key, for a name that has to be short."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def beyond(key: str, flags: FlagSet) -> tuple[str, ...]:
    """What a key names that may not be used here, in its order: nothing, where its cache fits.

    Args:
        key: what `cache_key` made, of this or another release. A feature that this one does not
            know is not known to be safe.
        flags: what may be used here.

    Raises UsageError if it is not a key; a digest (`--hash`) is not one.
    """
    words = key.strip().split("+")
    levels = {each.name: each.features for facts in (X86_64, AARCH64) for each in facts.levels()}
    if len(key) > LONGEST or words[0] not in levels or not all(map(_WORD.fullmatch, words)):
        raise UsageError("that is no key: one looks like x86-64-v3+aes+pclmul")
    needed = dict.fromkeys((*levels[words[0]], *words[1:]))
    return tuple(name for name in needed if name not in flags.safe)
