"""Assessment -> flags in the dialect of a runtime: pure.

`choose` makes the set of flags, `FORMATS` names the dialects. All of them write an allow-list: the
target is pinned, so that wasmtime infers nothing, and every flag has an explicit value. Only with
`only_off` is the target left alone and wasmtime's inference lowered; it is never raised.
"""

from __future__ import annotations

from cpuprobe.emit.choose import FlagSet, choose, removable
from cpuprobe.emit.wasmtime import FORMATS

__all__ = ["FORMATS", "FlagSet", "choose", "removable"]
