"""`cpuprobe key`."""

from __future__ import annotations

from typing import Annotated

import typer

from cpuprobe.cli.common import command_app, epilog, on_option
from cpuprobe.cli.output import note, print_lines

app = command_app()


@app.command(
    short_help="A short text for cache keys.",
    epilog=epilog(
        "cpuprobe key",
        "cpuprobe key --hash",
        "cpuprobe key --fits x86-64-v3+aes+pclmul",
        'cpuprobe key --on a.json --on b.json --fits "$(cat build/.cpu-key)"',
        zero="printed; with --fits: it may be used here",
        one="with --fits: it may not be used here",
        two="usage; no key: given to --fits, or here where not even x86-64-v1 is known to be safe",
        four="unreadable input",
    ),
)
def key(
    fits: Annotated[
        str | None,
        typer.Option("--fits", metavar="OLD", help="Whether what was made under OLD may be used."),
    ] = None,
    short: Annotated[
        bool, typer.Option("--hash", help="Sixteen hexadecimal digits, which --fits cannot judge.")
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="Give up a group, feature or flag. Repeatable."),
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(metavar="PROFILE", help="Nothing beyond this profile. Repeatable."),
    ] = None,
    captures: Annotated[list[str] | None, on_option(more=" Several: what all share.")] = None,
) -> int:
    """Print a text for cache keys: what code compiled for this machine may depend on.

    It names the psABI level and each feature beyond it that is safe. Builds with -march=native,
    JIT caches and trained kernels that were kept under one key run wherever the key fits: where
    all that it names is safe, and more does no harm.
    """
    from cpuprobe.cli.flags import Options, of_machines
    from cpuprobe.emit.key import beyond, cache_key, digest
    from cpuprobe.facts.profiles import find_profile

    profiles = [find_profile(name) for name in profile or ()]
    flags = of_machines(captures or [], profiles, Options(tuple(without or ()), False, None))
    if fits is None:
        text = cache_key(flags)
        print_lines([digest(text) if short else text])
        return 0
    missing = beyond(fits, flags)
    print_lines([f"does not fit: not safe here: {', '.join(missing)}" if missing else "fits"])
    if missing and not flags.executed:
        note("the capture rests on CPUID alone")
    return int(bool(missing))
