"""Which of the installed wasmtime's presets are not down-closed: the document of `profile lint`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from cpuprobe.errors import CannotMeasureError
from cpuprobe.evidence import installed
from cpuprobe.facts import presets as tables
from cpuprobe.facts.lint import Problem, problems
from cpuprobe.facts.presets import Preset, as_profile
from cpuprobe.facts.profiles import Profile
from cpuprobe.facts.wasmtime import UnknownWasmtimeError
from cpuprobe.wasm.children import ChildError
from cpuprobe.wasm.effect import Effect, effect


class Incoherent(msgspec.Struct, frozen=True):
    """A preset of wasmtime that is not down-closed."""

    name: str
    problems: tuple[Problem, ...]
    effect: Effect | None = None


class Presets(msgspec.Struct, frozen=True):
    """The presets of the installed wasmtime.

    Attributes:
        wasmtime: its version.
        presets: how many it has; None where it could not be asked.
        incoherent: those with problems.
        count: whether they decide the exit code.
        note: why it could not be asked.
    """

    wasmtime: str | None
    presets: int | None
    incoherent: tuple[Incoherent, ...]
    count: bool
    note: str | None = None


class Lints(msgspec.Struct, frozen=True, kw_only=True):
    """`profile lint`.

    Attributes:
        profiles: how many were looked at, presets apart.
        problems: what is wrong with them.
        presets: None where they were not asked about.
        ok: nothing of severity `error` that counts; the exit code is 0.
    """

    schema: str = "cpuprobe.profile-lint/1"
    profiles: int
    problems: tuple[Problem, ...]
    presets: Presets | None
    ok: bool


def lints(profiles: int, problems: Sequence[Problem], presets: Presets | None) -> Lints:
    """The outcome of `profile lint`."""
    wrong = any(each.severity == "error" for each in problems)
    if presets is not None and presets.count:
        wrong = wrong or bool(presets.incoherent)
    return Lints(profiles=profiles, problems=tuple(problems), presets=presets, ok=not wrong)


def incoherent(found: Mapping[str, Preset], version: str, prove: bool) -> tuple[Incoherent, ...]:
    """The presets that are not down-closed.

    Args:
        found: the presets of a wasmtime.
        version: of that wasmtime.
        prove: whether to compile with each of them, which takes seconds.
    """
    return tuple(
        Incoherent(preset.name, listed, _effect(preset) if prove else None)
        for preset in found.values()
        if (listed := problems(as_profile(preset, version)))
    )


def _effect(preset: Preset) -> Effect:
    try:
        return effect(preset)
    except ChildError as error:
        # wasmtime tells the reason behind its chain of causes.
        return Effect(untried=error.how.rpartition("Caused by: ")[2])


def _installed() -> tuple[str, dict[str, Preset]]:
    """The version of the installed wasmtime and its presets.

    Raises:
        CannotMeasureError: there is none, or the table does not have it.
    """
    version = installed.installed_version()
    if version is None:
        raise CannotMeasureError("wasmtime is not installed for this Python: pip install wasmtime")
    try:
        return version, tables.presets(version)
    except UnknownWasmtimeError as error:
        raise CannotMeasureError(str(error)) from None


def preset_profiles() -> Sequence[Profile]:
    """The presets of the installed wasmtime as profiles; CannotMeasureError without them."""
    version, found = _installed()
    return [as_profile(preset, version) for preset in found.values()]


def preset_flags(profile: Profile) -> dict[str, bool] | None:
    """The flags of the preset that the profile names, None where no wasmtime here has it."""
    if profile.preset is None:
        return None
    try:
        found = _installed()[1].get(profile.preset)
    except CannotMeasureError:
        return None
    return None if found is None else found.flags


def lint_presets(count: bool, prove: bool) -> Presets:
    """The incoherent presets.

    Raises:
        CannotMeasureError: wasmtime's are not known, and they decide the exit code.
    """
    try:
        version, found = _installed()
    except CannotMeasureError as error:
        if count:
            raise
        return Presets(installed.installed_version(), None, (), count, str(error))
    return Presets(version, len(found), incoherent(found, version, prove), count)
