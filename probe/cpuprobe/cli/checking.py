"""The files that `check` is given, each held against the machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cpuprobe.cli.common import machine
from cpuprobe.cli.output import progress
from cpuprobe.errors import UsageError
from cpuprobe.words import HERE

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from cpuprobe.check.against import HostCapabilities
    from cpuprobe.check.judge import Fit
    from cpuprobe.check.many import Found


def checked(
    files: list[str], judged: HostCapabilities, listing: bool, excluded: Sequence[str]
) -> tuple[Found, list[Fit]]:
    """What is meant by the arguments, and how each file of it fits.

    Args:
        files: the arguments.
        judged: the machine.
        listing: every function with what the machine lacks is listed.
        excluded: patterns of names that are not looked into.
    """
    from cpuprobe.check import many
    from cpuprobe.check.against import lacking
    from cpuprobe.check.compiled import is_module
    from cpuprobe.evidence.installed import installed_version

    found = many.expand(files, excluded)
    modules = {path: named for path, named in found.files if is_module(path, named)}
    compiles = judged.isa == "x86-64" and installed_version() is not None
    held: list[tuple[Fit, bytes]] | None = [] if compiles else None
    with progress() as bar:
        fits = many.check(
            [each for each in found.files if each[0] not in modules],
            judged,
            len(os.sched_getaffinity(0)),  # os.cpu_count() would not respect a cpuset
            lambda done, of, read: bar("files", done, of, f"{read >> 20} MB"),
            lacking(judged) if listing else (),
            found.unread,
            held,
            found.launchers,
            excluded,
        )
        if held:
            from cpuprobe.wasm.compiled import check_held

            made = {id(place): _met(fit, found.unread) for place, fit in check_held(held, judged)}
            fits = [made.get(id(fit), fit) for fit in fits]
        safe = _safe_flags() if modules and judged.name != HERE else None
        if judged.isa != "x86-64":
            return found, [*fits, *many.of_x86(modules, judged.isa)]
        for done, path in enumerate(modules):
            from cpuprobe.wasm.compiled import MANY, check_module

            bar("modules", done, len(modules))
            fit = check_module(path, judged, safe, once=len(modules) > MANY)
            fits.append(fit if modules[path] else _met(fit, found.unread))
        return found, fits


def _met(fit: Fit, unread: Counter[str]) -> Fit:
    """A module that was not named: what this wasmtime does not compile is unread, and no error.

    Most modules in packages are for JavaScript's engines, which take more than wasmtime does.
    """
    if fit.error is None:
        return fit
    from cpuprobe.check.judge import Fit
    from cpuprobe.code.archives.table import MODULE

    unread[MODULE.name] += 1
    return Fit(path=fit.path, expectation="unread", reason=f"{MODULE.name}: {fit.error}")


def target(against: str | None) -> HostCapabilities:
    """The machine that is meant: a profile, a capture, or this one."""
    from cpuprobe.check.against import machine as capabilities
    from cpuprobe.check.against import within

    if against is None:
        return capabilities(*machine(None))
    from cpuprobe.facts.profiles import find_profile, load_profiles

    profiles = load_profiles()
    if against in profiles:
        return within(profiles[against])
    if against.endswith(".toml"):
        return within(find_profile(against))
    if against != "-" and not os.path.exists(against):
        if os.sep in against:
            raise UsageError(f"--against {against}: no such file")
        return within(find_profile(against))
    return capabilities(*machine(against))


def _safe_flags() -> Mapping[str, bool] | None:
    """This machine's, for the installed wasmtime; None where it cannot be measured."""
    from cpuprobe.assessment import assess
    from cpuprobe.errors import CannotMeasureError
    from cpuprobe.facts.wasmtime import UnknownWasmtimeError

    try:
        return assess(machine(None)[1]).cranelift
    except (CannotMeasureError, UnknownWasmtimeError):
        return None
