"""What the distribution calls itself."""

from __future__ import annotations

import os
import shlex

from cpuprobe.words import plain

_PLACES = ("etc/os-release", "usr/lib/os-release")
_MOST = 1 << 16  # bytes
_LONGEST = 80


def distribution(root: str = "/") -> str | None:
    """`Debian GNU/Linux 12 (bookworm)`, by PRETTY_NAME of os-release(5); None if none is told."""
    for place in _PLACES:
        try:
            with open(os.path.join(root, place), encoding="utf-8", errors="replace") as file:
                lines = file.read(_MOST).splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith("PRETTY_NAME="):
                try:
                    (name,) = shlex.split(line.partition("=")[2])
                except ValueError:  # open quotes, or several words
                    return None
                return plain(name)[:_LONGEST] or None
    return None
