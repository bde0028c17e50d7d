"""`cpuprobe check`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from cpuprobe.cli.common import command_app, epilog, machine
from cpuprobe.cli.output import complain, print_result, progress

if TYPE_CHECKING:
    from cpuprobe.check.against import HostCapabilities

app = command_app()


@app.command(
    short_help="Tell whether files will run on this machine, or on another.",
    epilog=epilog(
        "cpuprobe check app.cwasm",
        "cpuprobe check /usr/lib --against x86-64-v2",
        "cpuprobe check build/ --on fleet-host.json --json",
        zero="all fit",
        one="something does not",
        four="something could not be read",
    ),
)
def check(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help=".cwasm, ELF files, and folders of them."),
    ],
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            "--on",
            metavar="PROFILE|CAPTURE",
            help="A profile (x86-64-v3, rhel-9, alderlake-n) or a capture; - is stdin.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Tell whether files will run on a machine: this one, or another with --against.

    A file may contain instructions that it never executes there: GUARDED if it chooses at run time,
    UNGUARDED if nothing in it does, with the evidence.
    """
    import gc

    import msgspec

    judged = _machine(against)
    # Millions of small objects, none in a cycle: looking for cycles takes a sixth of the time.
    gc.disable()
    from cpuprobe.check.many import check as check_files
    from cpuprobe.check.many import expand
    from cpuprobe.report.fit import document, kinds, to_text

    found = expand(files)
    # os.cpu_count() would not respect a cpuset.
    with progress() as bar:
        fits = check_files(
            found.files,
            judged,
            len(os.sched_getaffinity(0)),
            lambda done, of: bar("files", done, of),
        )
    report = document(judged.name, [msgspec.to_builtins(fit) for fit in fits], found.unread)
    print_result(report, json, lambda: to_text(report))
    for fit in fits:
        if fit.error is not None:
            complain(f"{fit.path}: {fit.error}")
    if not fits:
        complain(f"nothing was read: {kinds(found.unread) or 'no file'}")
    if not fits or any(fit.error is not None for fit in fits):
        return 4
    return int(not all(fit.fits for fit in fits))


def _machine(against: str | None) -> HostCapabilities:
    from cpuprobe.assessment import assess
    from cpuprobe.check.against import machine as capabilities
    from cpuprobe.check.against import within
    from cpuprobe.errors import UsageError

    if against is None:
        name, observation = machine(None)
        return capabilities(name, observation, assess(observation))
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
    name, observation = machine(against)
    return capabilities(name, observation, assess(observation))
