"""`cpuprobe profile list | show | check | cost | lint`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cpuprobe.cli.common import command_app, machine, on_option
from cpuprobe.cli.output import print_result, width

if TYPE_CHECKING:
    from cpuprobe.facts.presets import Preset
    from cpuprobe.facts.profiles import Profile
    from cpuprobe.wasm.preset_lint import Presets

app = command_app()

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.callback(invoke_without_command=True)
def profile(context: typer.Context) -> None:
    """Named sets of features: psABI levels, CPUs, distributions, policies, and your own.

    Your own are TOML files in $XDG_CONFIG_HOME/cpuprobe/profiles (~/.config/cpuprobe/profiles);
    docs/profiles.md tells how to write one.
    """
    if context.invoked_subcommand is None:
        from cpuprobe.errors import UsageError

        raise UsageError("profile needs one of its commands: list, show, check, cost, lint")


@app.command(
    "list",
    short_help="List the profiles.",
    epilog="Examples: cpuprobe profile list | cpuprobe profile list --kind cpu | "
    "cpuprobe profile list --json",
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
    profiles = _presets_as_profiles() if kind == "preset" else load_profiles().values()
    found = listing(profiles, kind)
    print_result(found, json, lambda: listing_lines(found))


@app.command(
    short_help="Show one profile.",
    epilog="Examples: cpuprobe profile show x86-64-v3 | cpuprobe profile show fleet.toml --json",
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
    from cpuprobe.facts.wasmtime import UnknownWasmtimeError, known_versions, lookup
    from cpuprobe.report.profile_text import shown_lines

    one = find_profile(name)
    newest = next(iter(known_versions().values()))
    try:
        version = lookup(installed_version() or str(newest.major))
    except UnknownWasmtimeError:
        version = newest
    flags = choose_alone([one], version)
    document = shown(
        one,
        load_profiles(),
        flags.wasmtime,
        flags.values,
        flags.off,
        _preset_of(one),
        archspec_facts(one),
    )
    print_result(document, json, lambda: shown_lines(document))


@app.command(
    short_help="Tell whether a machine meets profiles.",
    epilog="Examples: cpuprobe profile check x86-64-v3 | cpuprobe profile check haswell my.toml "
    "--on host.json | ssh host cpuprobe-native | cpuprobe profile check x86-64-v4 --on -. "
    "Exit codes: 0 it meets all, 1 it does not, 2 usage, 3 could not measure, 4 unreadable input, "
    "or too little told.",
)
def check(
    names: Annotated[list[str], typer.Argument(metavar="PROFILE...", help="Names, or TOML files.")],
    on: Annotated[str | None, on_option()] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="What is not told counts as missing.")
    ] = False,
    json: _Json = False,
) -> int:
    """Tell whether this machine meets profiles, or another with --on; and what it lacks.

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
    short_help="Tell which machines a profile leaves out, as a default.",
    epilog="Examples: cpuprobe profile cost x86-64-v3 | cpuprobe profile cost x86-64-v2 haswell "
    "--json | cpuprobe fleet reports/ --export ours.tsv && cpuprobe profile cost my.toml "
    "--reference ours.tsv",
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
    """Tell which machines of a reference fleet profiles leave out: how many, and which CPUs.

    Where the counts are from, how old they are and how they are biased is said each time.
    """
    from cpuprobe.facts.profiles import find_profile
    from cpuprobe.fleet.answer import target_version
    from cpuprobe.fleet.cost import costs_of
    from cpuprobe.fleet.reference import count_table
    from cpuprobe.report.cost_text import cost_lines

    wanted = [find_profile(name) for name in names]
    found = costs_of(*count_table(reference, target_version(None)), wanted)
    print_result(found, json, lambda: cost_lines(found, width()))


@app.command(
    short_help="Find profiles that are not down-closed or contradict themselves.",
    epilog="Examples: cpuprobe profile lint | cpuprobe profile lint my.toml | "
    "cpuprobe profile lint --presets --prove. "
    "Exit codes: 0 no error, 1 an error, 2 usage, 3 no wasmtime whose presets are known, "
    "4 unreadable file.",
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
    code only with --presets: nobody can mend them but wasmtime.
    """
    from cpuprobe.errors import UsageError
    from cpuprobe.facts.lint import lint as find_problems
    from cpuprobe.facts.profiles import load_profiles, profiles_in
    from cpuprobe.report.profile_text import lint_lines
    from cpuprobe.wasm.preset_lint import lints

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
        _lint_presets(bool(presets), prove) if asked else None,
    )
    print_result(found, json, lambda: lint_lines(found))
    return int(not found.ok)


def _installed() -> tuple[str, dict[str, Preset]]:
    """The version of the installed wasmtime and its presets.

    Raises:
        CannotMeasureError: there is none, or the table does not have it.
    """
    from cpuprobe.errors import CannotMeasureError
    from cpuprobe.evidence.installed import installed_version
    from cpuprobe.facts.presets import presets
    from cpuprobe.facts.wasmtime import UnknownWasmtimeError

    version = installed_version()
    if version is None:
        raise CannotMeasureError("wasmtime is not installed for this Python: pip install wasmtime")
    try:
        return version, presets(version)
    except UnknownWasmtimeError as error:
        raise CannotMeasureError(str(error)) from None


def _presets_as_profiles() -> Sequence[Profile]:
    from cpuprobe.facts.presets import as_profile

    version, found = _installed()
    return [as_profile(preset, version) for preset in found.values()]


def _preset_of(profile: Profile) -> dict[str, bool] | None:
    """The flags of the preset that the profile names, None where no wasmtime here has it."""
    from cpuprobe.errors import CannotMeasureError

    if profile.preset is None:
        return None
    try:
        found = _installed()[1].get(profile.preset)
    except CannotMeasureError:
        return None
    return None if found is None else found.flags


def _lint_presets(count: bool, prove: bool) -> Presets:
    """The incoherent presets.

    Raises:
        CannotMeasureError: wasmtime's are not known, and they decide the exit code.
    """
    from cpuprobe.errors import CannotMeasureError
    from cpuprobe.evidence.installed import installed_version
    from cpuprobe.wasm.preset_lint import Presets, incoherent

    try:
        version, found = _installed()
    except CannotMeasureError as error:
        if count:
            raise
        return Presets(installed_version(), None, (), count, str(error))
    return Presets(version, len(found), incoherent(found, version, prove), count)
