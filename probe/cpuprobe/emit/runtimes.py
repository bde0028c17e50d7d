"""Other runtimes' dialects: what each must be told to stay off everything that is not safe.

Compilers get an allow-list: a psABI level and the safe features beyond it. The others have no such
thing: they get what has to be switched off, which is what CPUID claims (and they would therefore
use) though it is not safe, and what the user gives up. Names and limits stand in
`profiles/knobs.toml`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from cpuprobe.emit.choose import FlagSet
from cpuprobe.emit.knobs import allow_list, setting, unnamed
from cpuprobe.facts.runtimes import Compiler, dialects

# Named here so that the table is read only when one of them is asked for; a test compares.
DIALECTS = (
    "gcc",
    "llvm",
    "rustc",
    "glibc",
    "openssl",
    "numpy",
    "onednn",
    "godebug",
    "dotnet",
    "jvm",
    "node",
)


def write(dialect: str, flags: FlagSet) -> str:
    """The setting in the dialect of a runtime: one line, or nothing if nothing is to be said."""
    one = dialects()[dialect]
    if isinstance(one, Compiler) and not flags.only_off:
        text, _ = allow_list(one, flags.safe)
    else:
        text = setting(one, flags.disable, flags.safe)
    return text + "\n" if text else ""


def notes(dialect: str, flags: FlagSet) -> tuple[str, ...]:
    """What has to be said besides the setting, a line each; nothing for wasmtime's own dialects."""
    if dialect not in DIALECTS:
        return ()
    one = dialects()[dialect]
    if isinstance(one, Compiler) and not flags.only_off:
        _, recent = allow_list(one, flags.safe)
        releases = [f"{name} ({one.since[name]})" for name in recent]
        return (f"{dialect} knows these only since: {', '.join(releases)}",) if releases else ()
    if not flags.disable:
        return (f"nothing to switch off for {dialect}",)
    if not write(dialect, flags):
        return (f"{dialect} has no switch for: {', '.join(flags.disable)}",)
    lacking = unnamed(one, flags.disable)
    return (f"{dialect} has no switch for: {', '.join(lacking)}",) if lacking else ()


RUNTIMES: dict[str, Callable[[FlagSet], str]] = {
    dialect: functools.partial(write, dialect) for dialect in DIALECTS
}
