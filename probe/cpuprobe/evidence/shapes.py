r"""The shapes of what a report may hold: each string is typed as it is read.

Whatever does not have its shape is refused, so that nothing a stranger wrote can be taken for code,
markup or a terminal's command. Patterns are Python's and ECMAScript's, since the JSON Schema that
docs/ publishes carries them; `(?!\n)` is there because Python's `$` lets a line end pass.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec


def _shaped(pattern: str) -> msgspec.Meta:
    return msgspec.Meta(pattern=f"^(?:{pattern})$(?!\\n)")


# No control character of C0 or C1, nothing that hides or turns text around (Unicode 15, categories
# Cc, Cf, Zl, Zp; CVE-2021-42574), nothing beyond what a kernel prints.
_PLAIN = (
    "[^\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e"
    "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\U000e0000-\U000e0fff]"
)

Register = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]
Mask = Annotated[int, msgspec.Meta(ge=0)]  # 64 bits: checked elsewhere, msgspec's bounds end before
CpuNumber = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFF)]

Line = Annotated[str, _shaped(f"{_PLAIN}{{0,16384}}")]
"""A line that a kernel or a CPU wrote, for people: a brand, a build, a mitigation."""

Label = Annotated[str, _shaped(f"{_PLAIN}{{1,256}}")]
"""A short line that is not empty."""

Field = Annotated[str, _shaped("[0-9A-Za-z][0-9A-Za-z _./()-]{0,63}")]
"""A key of /proc/cpuinfo, a file of sysfs, a format, a system call."""

FeatureName = Annotated[str, _shaped("[0-9a-z][0-9a-z._-]{0,39}")]
"""A feature by its canonical name."""

Mnemonic = Annotated[str, _shaped("[0-9A-Za-z{][0-9A-Za-z .,;+*_{}\\[\\]#!/-]{0,159}")]
"""A candidate: an instruction or several, as iced-x86 or LLVM prints them."""

Hex = Annotated[str, _shaped("[0-9a-f]{0,16384}")]
"""Bytes in hexadecimal."""

Release = Annotated[str, _shaped("[0-9A-Za-z][0-9A-Za-z._+~:@,=/-]{0,127}")]
"""What `uname -r` says."""

SystemRegister = Annotated[str, _shaped("[a-z][0-9a-z_]{1,31}")]
"""A system register by its name in the Arm ARM, in lower case."""

Word = Annotated[str, _shaped("[0-9A-Za-z_][0-9A-Za-z_.,:=+/*-]{0,255}")]
"""A word of the kernel's command line."""

Mount = Annotated[str, _shaped("[0-9A-Za-z][0-9A-Za-z._-]{0,63}")]
"""The type of a filesystem."""

Version = Annotated[str, _shaped("[0-9A-Za-z.+-]{1,40}")]
"""A program's version."""

Flag = Annotated[str, _shaped("has_[a-z0-9_]{1,60}")]
"""An x86 setting of Cranelift."""

PsabiLevel = Annotated[str, _shaped("x86-64-v[1-9]")]
"""A level of the x86-64 psABI."""


def has_shape(text: str, shape: Any) -> bool:
    """Whether a text has one of the shapes above."""
    (meta,) = shape.__metadata__
    return re.search(meta.pattern, text) is not None
