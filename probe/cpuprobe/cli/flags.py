"""`cpuprobe flags`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from cpuprobe.cli.common import command_app, epilog, machine, on_option
from cpuprobe.cli.output import note, print_text, tell

if TYPE_CHECKING:
    from cpuprobe.emit import FlagSet
    from cpuprobe.evidence.observation import Observation
    from cpuprobe.facts.profiles import Profile

app = command_app()


@app.command(
    epilog=epilog(
        "cpuprobe flags --format rust",
        "cpuprobe flags --without avx512 --format cli",
        "cpuprobe flags --on a.json --on b.json --wasmtime 48 --format json",
        "cpuprobe flags --profile haswell --why",
        "cpuprobe flags --on host1.json --on host2.json --format libvirt",
        "cpuprobe flags --profile x86-64-v3 --alone --format guard > guard.c",
        zero="printed",
    ),
)
def flags(
    dialect: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="wasmtime: text, json, rust, c, python, cli, clif. Others: gcc, llvm, rustc, "
            "glibc, openssl, numpy, onednn, godebug, dotnet, jvm, node. Builds: march, gentoo, "
            "pacman, nfd-image, guard. Guests: qemu, libvirt, proxmox. Labels: nfd, prometheus, "
            "ansible, systemd, oci.",
        ),
    ] = "text",
    only_off: Annotated[
        bool,
        typer.Option("--only-off", help="Only the flags to switch off; do not pin the target."),
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="Give up a group, feature or flag. Repeatable."),
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROFILE",
            help="Nothing beyond this profile: a name of `profile list`, or a TOML file. "
            "Repeatable.",
        ),
    ] = None,
    alone: Annotated[
        bool,
        typer.Option("--alone", help="The profiles alone, whatever this machine has."),
    ] = False,
    captures: Annotated[
        list[str] | None, on_option("--from", more=" Several: what all share.")
    ] = None,
    wasmtime: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="For this version. Default: the installed one."),
    ] = None,
    why: Annotated[
        bool,
        typer.Option("--why", help="Say on standard error why each flag is off."),
    ] = False,
) -> None:
    """Print the flags that are safe, in the dialect of a runtime.

    Every flag the wasmtime version knows gets an explicit value, and the target is pinned: an
    allow-list. A flag is true only if the feature executed rightly on every CPU and wasmtime itself
    would accept it on this host.

    For other runtimes: gcc, llvm and rustc get the psABI level and features that are safe; the
    rest get what to switch off, on one line, or nothing if CPUID claims no more than is safe.
    docs/knobs.md says what each setting does not reach.

    For builds: march is what -march=native should be, guard a C file that checks for all of it
    before a program starts. For guests: a CPU model of what all hosts share.

    A profile is a ceiling: nothing beyond it stays on. `--alone` asks no machine at all: what to
    ship where every machine is known to meet the profiles.
    """
    from cpuprobe.emit import FORMATS, notes
    from cpuprobe.errors import UsageError
    from cpuprobe.facts.profiles import find_profile
    from cpuprobe.facts.wasmtime import UnknownWasmtimeError

    if dialect not in FORMATS:
        raise UsageError(f"--format {dialect}: no such format; there are {', '.join(FORMATS)}")
    if alone and (captures or not profile):
        raise UsageError("--alone takes the flags from --profile, and no capture beside it")
    profiles = [find_profile(name) for name in profile or ()]
    options = Options(tuple(without or ()), only_off, wasmtime)
    try:
        chosen = (
            of_profiles(profiles, options)
            if alone
            else of_machines(captures or [], profiles, options)
        )
    except UnknownWasmtimeError as error:
        raise UsageError(f"--wasmtime: {error}") from None
    print_text(FORMATS[dialect](chosen))
    for sentence in notes(dialect, chosen):
        note(sentence)
    if why:
        for number, path in enumerate(captures or (), 1):
            if chosen.machines > 1:
                tell(f"machine {number}: {path}")
        for flag, reasons in chosen.reasons.items():
            tell(f"{flag} is off: {'; '.join(reasons)}")


class Options(NamedTuple):
    """What applies to machines and profiles alike."""

    without: tuple[str, ...]
    only_off: bool
    wasmtime: str | None


def of_machines(captures: list[str], profiles: list[Profile], options: Options) -> FlagSet:
    """What is safe on every captured machine, or on this one, within the profiles."""
    from cpuprobe.assessment import assess
    from cpuprobe.emit import choose
    from cpuprobe.errors import UsageError
    from cpuprobe.facts.isa import facts_of

    wasmtime = options.wasmtime
    observations = [machine(path)[1] for path in captures] or [_this_machine(wasmtime)]
    if len(observations) > 1 and wasmtime is None:
        wasmtime = _one_version(observations)
    if len({facts_of(each.isa).name for each in observations}) > 1:
        raise UsageError("captures of different instruction sets have no flag in common")
    assessments = [assess(each, wasmtime) for each in observations]
    for name, assessment in zip(captures, assessments, strict=False):
        if assessment.verdict == "insufficient":
            known = f"{assessment.known.features} of {assessment.known.of} features"
            note(f"{name} tells of {known} only; flags of the rest are off")
    return choose(
        assessments,
        without=options.without,
        profiles=profiles,
        only_off=options.only_off,
    )


def of_profiles(profiles: list[Profile], options: Options) -> FlagSet:
    """What the profiles permit, for the wanted, the installed or the newest wasmtime."""
    from cpuprobe.emit import choose_alone
    from cpuprobe.evidence.installed import installed_version
    from cpuprobe.facts.wasmtime import lookup, newest

    version = options.wasmtime or installed_version()
    isa = profiles[0].isa
    row = newest(isa) if version is None else lookup(version, isa)
    return choose_alone(profiles, row, without=options.without, only_off=options.only_off)


def _this_machine(wasmtime: str | None) -> Observation:
    """This machine, with the flags of the installed wasmtime measured unless another is wanted."""
    import msgspec

    _, observation = machine(None)
    if wasmtime is not None or observation.wasmtime is None:
        return observation
    from cpuprobe.wasm.children import ChildError
    from cpuprobe.wasm.introspect import installed_flags

    try:
        known = tuple(installed_flags())
    except ChildError as error:
        note(f"{error}; using the table of known versions")
        return observation
    found = msgspec.structs.replace(observation.wasmtime, flags=known)
    return msgspec.structs.replace(observation, wasmtime=found)


def _one_version(observations: list[Observation]) -> str | None:
    """The wasmtime version that all observed machines share, to make their flags comparable."""
    versions = {each.wasmtime.version for each in observations if each.wasmtime is not None}
    if len(versions) > 1:
        from cpuprobe.errors import UsageError

        raise UsageError(
            f"the captures have different wasmtime versions ({', '.join(sorted(versions))}); "
            "say which with --wasmtime"
        )
    return versions.pop() if versions else None
