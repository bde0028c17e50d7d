"""`cpuprobe native`."""

from __future__ import annotations

from cpuprobe.cli.common import command_app, epilog
from cpuprobe.cli.output import print_lines

app = command_app()


@app.command(
    short_help="Print the path of the bundled cpuprobe-native.",
    epilog=epilog(
        "scp $(cpuprobe native) host: && ssh host ./cpuprobe-native > host.json",
        zero="told",
    ),
)
def native() -> None:
    """Print the path of the bundled cpuprobe-native, to copy to a machine without Python."""
    from cpuprobe.evidence.measure import native_executable

    print_lines([native_executable()])
