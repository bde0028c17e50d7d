"""`cpuprobe profile list | show | check | cost | lint`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cpuprobe.cli.common import command_app, epilog, machine, on_option
from cpuprobe.cli.output import print_result, width

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cpuprobe.facts.profiles import Profile

app = command_app()

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.callback(invoke_without_command=True)
def profile(context: typer.Context) -> None:
    """Named sets of features: levels, CPUs, distributions, your own.

    Your own are TOML files in $XDG_CONFIG_HOME/cpuprobe/profiles (~/.config/cpuprobe/profiles);
    docs/profiles.md tells how to write one.
    """
    if context.invoked_subcommand is None:
        from cpuprobe.errors import UsageError

        raise UsageError("profile needs one of its commands: list, show, check, cost, lint")


@app.command(
    "list",
    short_help="List the profiles.",
    epilog=epilog(
        "cpuprobe profile list",
        "cpuprobe profile list --kind cpu",
        "cpuprobe profile list --json",
        zero="listed",
    ),
)
def list_profiles(
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="Only level, cpu, gds-force, distribution, policy, user; or preset: those of "
            "the installed wasmtime.",
        ),
    ] = None,
    json: _Json = False,
) -> None:
    """List the profiles: name, year, psABI level, number of features, purpose."""
    from cpuprobe.check.profile_facts import listing
    from cpuprobe.errors import UsageError
    from cpuprobe.facts.profiles import KINDS, load_profiles
    from cpuprobe.report.profile_text import listing_lines

    if kind is not None and kind not in KINDS:
        raise UsageError(f"--kind {kind}: no such kind; there are {', '.join(KINDS)}")
    if kind == "preset":
        from cpuprobe.wasm.preset_lint import preset_profiles

        profiles: Iterable[Profile] = preset_profiles()
    else:
        profiles = load_profiles(isa=None).values()
    found = listing(profiles, kind)
    print_result(found, json, lambda: listing_lines(found))


@app.command(
    short_help="Show one profile.",
    epilog=epilog(
        "cpuprobe profile show x86-64-v3",
        "cpuprobe profile show fleet.toml --json",
        zero="shown",
    ),
)
def show(
    name: Annotated[str, typer.Argument(metavar="PROFILE", help="A name, or a TOML file.")],
    json: _Json = False,
) -> None:
    """Show one profile: its features by psABI level, the flags it permits, who meets it."""
    from cpuprobe.check.profile_facts import shown
    from cpuprobe.emit import choose_alone
    from cpuprobe.evidence.installed import installed_version
    from cpuprobe.facts.archspec import archspec_facts
    from cpuprobe.facts.profiles import find_profile, load_profiles
    from cpuprobe.facts.wasmtime import nearest
    from cpuprobe.report.profile_text import shown_lines
    from cpuprobe.wasm.preset_lint import preset_flags

    one = find_profile(name)
    version = nearest(installed_version(), one.isa)
    flags = choose_alone([one], version)
    document = shown(
        one,
        load_profiles(isa=one.isa),
        flags.wasmtime,
        flags.values,
        flags.off,
        preset_flags(one),
        archspec_facts(one),
    )
    print_result(document, json, lambda: shown_lines(document))


@app.command(
    short_help="Say whether a machine meets profiles.",
    epilog=epilog(
        "cpuprobe profile check x86-64-v3",
        "cpuprobe profile check haswell my.toml --on host.json",
        "ssh host ./cpuprobe-native | cpuprobe profile check x86-64-v4 --on -",
        zero="it meets all",
        one="it does not",
        four="unreadable input, or too little is known",
    ),
)
def check(
    names: Annotated[list[str], typer.Argument(metavar="PROFILE...", help="Names, or TOML files.")],
    on: Annotated[str | None, on_option()] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="What is not known counts as missing.")
    ] = False,
    json: _Json = False,
) -> int:
    """Say whether this machine, or another with --on, meets profiles, and what it lacks.

    It meets a profile if every feature of it is safe there: claimed, granted, and executed rightly.
    """
    from cpuprobe.assessment import assess
    from cpuprobe.check.profile_fit import verdicts
    from cpuprobe.errors import CaptureError
    from cpuprobe.facts.profiles import find_profile
    from cpuprobe.report.profile_text import verdict_lines

    wanted = [find_profile(name) for name in names]
    judged, observation = machine(on)
    found = verdicts(judged, assess(observation), wanted)
    print_result(found, json, lambda: verdict_lines(found))
    if any(not each.meets and (strict or each.decided) for each in found.profiles):
        return 1
    return 0 if all(each.meets for each in found.profiles) else CaptureError.exit_code


@app.command(
    short_help="Say which machines a profile leaves out, as a default.",
    epilog=epilog(
        "cpuprobe profile cost x86-64-v3",
        "cpuprobe profile cost x86-64-v2 haswell --json",
        "cpuprobe fleet reports/ --export ours.tsv",
        "cpuprobe profile cost my.toml --reference ours.tsv",
        zero="printed",
        three="a library is missing",
    ),
)
def cost(
    names: Annotated[list[str], typer.Argument(metavar="PROFILE...", help="Names, or TOML files.")],
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Count this table, as fleet --export writes it. Default: 147,826 Linux machines.",
        ),
    ] = None,
    json: _Json = False,
) -> None:
    """Say which machines of a reference fleet profiles leave out: how many, and which CPUs.

    Each answer says where the counts are from, how old they are and how they are biased.
    """
    from cpuprobe.errors import UsageError
    from cpuprobe.facts.profiles import find_profile
    from cpuprobe.fleet.answer import target_version
    from cpuprobe.fleet.cost import costs_of
    from cpuprobe.fleet.reference import count_table
    from cpuprobe.report.cost_text import cost_lines

    wanted = [find_profile(name) for name in names]
    for each in wanted:
        if each.isa != "x86-64":
            raise UsageError(f"{each.name}: the reference is of x86-64, it is of {each.isa}")
    found = costs_of(*count_table(reference, target_version(None)), wanted)
    print_result(found, json, lambda: cost_lines(found, width()))


@app.command(
    short_help="Find profiles that are not down-closed or contradict themselves.",
    epilog=epilog(
        "cpuprobe profile lint",
        "cpuprobe profile lint my.toml",
        "cpuprobe profile lint --presets --prove",
        zero="no error",
        one="an error",
        three="no wasmtime whose presets are known",
    ),
)
def lint(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE...]",
            help="TOML files. Default: all built-in profiles, yours, and wasmtime's presets.",
        ),
    ] = None,
    presets: Annotated[
        bool | None,
        typer.Option(
            "--presets/--no-presets",
            help="Look at the installed wasmtime's presets too, and let them decide the exit code; "
            "or leave them out.",
        ),
    ] = None,
    prove: Annotated[
        bool,
        typer.Option("--prove", help="Compile with each incoherent preset: a minute or two."),
    ] = False,
    json: _Json = False,
) -> int:
    """Find profiles that are not down-closed or contradict themselves.

    A set with avx2 but without avx, which avx2 builds on, is not down-closed: no machine has just
    that. Without FILE the presets of the installed wasmtime are shown as well. They decide the exit
    code only with --presets: only wasmtime can mend them.
    """
    from cpuprobe.errors import UsageError
    from cpuprobe.facts.lint import lint as find_problems
    from cpuprobe.facts.profiles import load_profiles, profiles_in
    from cpuprobe.report.profile_text import lint_lines
    from cpuprobe.wasm.preset_lint import lint_presets, lints

    if prove and presets is False:
        raise UsageError("--prove compiles with presets: leave out --no-presets")
    known = load_profiles(lenient=True)
    checked = list(known.values())
    if files:
        checked = [each for path in files for each in profiles_in(path, lenient=True).values()]
    asked = presets if presets is not None else prove or not files
    found = lints(
        len(checked),
        list(find_problems(checked, known)),
        lint_presets(bool(presets), prove) if asked else None,
    )
    print_result(found, json, lambda: lint_lines(found))
    return int(not found.ok)
