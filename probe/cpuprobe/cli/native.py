"""`cpuprobe native`."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from cpuprobe.cli.common import command_app, epilog
from cpuprobe.cli.output import print_lines

app = command_app()


@app.command(
    short_help="Print the path of the bundled cpuprobe-native.",
    epilog=epilog(
        "scp $(cpuprobe native) host: && ssh host ./cpuprobe-native > host.json",
        "cc program.c $(cpuprobe native --cflags --libs)",
        zero="printed",
    ),
)
def native(
    cflags: Annotated[
        bool, typer.Option("--cflags", help="What a compiler needs to find cpuprobe.h.")
    ] = False,
    libs: Annotated[
        bool, typer.Option("--libs", help="What a linker needs for libcpuprobe.")
    ] = False,
    prefix: Annotated[
        bool,
        typer.Option("--prefix", help="The folder with lib/ and include/, for CMAKE_PREFIX_PATH."),
    ] = False,
) -> None:
    """Print the path of the bundled cpuprobe-native, to copy to a machine without Python.

    Or where the bundled libcpuprobe is, for programs in C, C++, Rust and Go.
    """
    from cpuprobe.evidence.measure import library_prefix, native_executable

    if not (cflags or libs or prefix):
        print_lines([native_executable()])
        return
    folder = library_prefix()
    words = [f"-I{folder}/include"] if cflags else []
    words += [f"-L{folder}/lib", "-lcpuprobe"] if libs else []
    print_lines([folder] if prefix else [" ".join(map(shlex.quote, words))])
