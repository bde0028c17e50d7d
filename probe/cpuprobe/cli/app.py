"""The commands. Heavy modules are imported inside them: `cpuprobe --json` must start fast."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cpuprobe.cli.common import SETTINGS, epilog, share_option
from cpuprobe.errors import UsageError, did_you_mean

# Each command's module holds `app`, with that one command in it.
COMMANDS = {
    "bench": "cpuprobe.cli.bench",
    "check": "cpuprobe.cli.check",
    "completion": "cpuprobe.cli.completion",
    "diff": "cpuprobe.cli.diff",
    "explain": "cpuprobe.cli.explain",
    "flags": "cpuprobe.cli.flags",
    "fleet": "cpuprobe.cli.fleet",
    "inspect": "cpuprobe.cli.inspect",
    "key": "cpuprobe.cli.key",
    "native": "cpuprobe.cli.native",
    "profile": "cpuprobe.cli.profile",
    "report": "cpuprobe.cli.report",
    "run": "cpuprobe.cli.guarded",  # a module `run` would take the place of the function cli.run
    "verify": "cpuprobe.cli.verify",
}


class LazyGroup(TyperGroup):
    """Loads a command's module when it is asked for: the bare `cpuprobe --json` needs none."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands."""
        return list(COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command, with the options that stand before it: they hold for it or are refused."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = did_you_mean(args[0], COMMANDS) or "; `cpuprobe --help` lists them"
            raise UsageError(f"no such command: {args[0]}{near}")
        name, command, rest = super().resolve_command(ctx, args)
        return name, command, [*_options_before(ctx, name, command), *rest]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(import_module(COMMANDS[cmd_name]).app)
        command.name = cmd_name
        return _taking_once(command)

    def make_parser(self, ctx: Any) -> Any:
        """The parser of its own options."""
        return _refusing_repeats(ctx, super().make_parser(ctx))


def _taking_once(command: Any) -> Any:
    """The command and what is below it, made to refuse an option that is given twice."""
    make = command.make_parser
    command.make_parser = lambda ctx: _refusing_repeats(ctx, make(ctx))
    for below in getattr(command, "commands", {}).values():
        _taking_once(below)
    return command


def _refusing_repeats(context: Any, parser: Any) -> Any:
    """The parser, made to refuse two values for what takes one: the last would count silently."""
    parse = parser.parse_args

    def parse_args(args: list[str]) -> Any:
        values, rest, order = parse(args)
        for option in {id(each): each for each in order}.values():
            takes_one = option.param_type_name == "option" and not (
                option.is_flag or option.multiple or option.count
            )
            if takes_one and sum(each is option for each in order) > 1:
                context.fail(f"{' or '.join(option.opts)} is given more than once")
        return values, rest, order

    parser.parse_args = parse_args
    return parser


def _options_before(context: Any, name: str | None, command: Any) -> Iterator[str]:
    """The options given to `cpuprobe` itself, as words for a command that knows them too."""
    known = {each for option in command.get_params(context) for each in option.opts}
    for option in context.command.params:
        source = context.get_parameter_source(option.name)
        if source is None or source.name != "COMMANDLINE":
            continue
        word = option.opts[-1]
        if word not in known:
            raise UsageError(f"{word} is no option of `cpuprobe {name}`")
        yield word
        if not option.is_flag:
            yield str(context.params[option.name])


app = typer.Typer(
    **SETTINGS,
    cls=LazyGroup,
    help="What this CPU claims, what the kernel grants, and what the silicon does.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from cpuprobe.cli.output import print_lines
        from cpuprobe.version import VERSION

        print_lines([f"cpuprobe {VERSION}"])
        raise typer.Exit


@app.callback(
    invoke_without_command=True,
    epilog=epilog(
        "cpuprobe",
        "cpuprobe --json > report.json",
        "cpuprobe inspect report.json",
        "cpuprobe flags --format python",
        zero="no finding of severity error",
        one="a finding of severity error",
    ),
)
def _probe(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Show every feature.")] = False,
    share: Annotated[bool, share_option()] = False,
    cpus: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help="Only these CPUs, e.g. 0-3,8. Default: all that are allowed."
        ),
    ] = None,
    no_exec: Annotated[
        bool, typer.Option("--no-exec", help="Execute nothing; read CPUID and XCR0 only.")
    ] = False,
    root: Annotated[
        str, typer.Option(metavar="DIR", help="Take /proc and /sys from below DIR.")
    ] = "/",
    repeat: Annotated[
        int,
        typer.Option(
            metavar="N", help="Run every candidate N times on each CPU, with several inputs."
        ),
    ] = 1,
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> int:
    """Probe this machine: execute each instruction-set extension, compare with what is claimed."""
    if context.invoked_subcommand is not None:
        return 0
    from cpuprobe.cli.probing import probe

    return probe(json, every, share, cpus, not no_exec, root, repeat)
