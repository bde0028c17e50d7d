"""`cpuprobe native`."""

from __future__ import annotations

import typer

from cpuprobe.cli.common import command_app

app = command_app()


@app.command(
    short_help="Print the path of the bundled cpuprobe-native.",
    epilog="Example: scp $(cpuprobe native) host: && ssh host ./cpuprobe-native > host.json",
)
def native() -> None:
    """Print the path of the bundled cpuprobe-native, to copy to a machine without Python."""
    from cpuprobe.evidence.measure import native_executable

    typer.echo(native_executable())
