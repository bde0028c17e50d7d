"""Programs that die of one instruction, built for a test, and the core files they leave."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

# FMA4, XOP, AMX, 3DNow!, SHA512: no CPU has them all. Each with the feature it needs.
RARE = {
    "xop": bytes.fromhex("8fe870a2c230"),  # vpcmov xmm0, xmm1, xmm2, xmm3
    "fma4": bytes.fromhex("c4e3f169c220"),  # vfmaddpd xmm0, xmm1, xmm2, xmm2
    "3dnow": bytes.fromhex("0f0fc19e"),  # pfadd mm0, mm1
    "amx-tile": bytes.fromhex("c4e27b49c0"),  # tilezero tmm0
    "sha512": bytes.fromhex("c4e277cbc2"),  # vsha512rnds2 ymm0, ymm1, xmm2
}

_RUNNER = """
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const unsigned char code[] = {BYTES, 0xc3};

#ifdef OF_LIBRARY
void dead(void);
#else
__attribute__((noinline)) void dead(void) { __asm__ volatile(ASSEMBLY); }
#endif

#ifndef IS_LIBRARY
static void jit(void)
{
    unsigned char *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(page + 64, code, sizeof code);
    mprotect(page, 4096, PROT_READ | PROT_EXEC);
    ((void (*)(void))(page + 64))();
}

int main(int argc, char **argv)
{
    alarm(20);
    switch (argc > 1 ? argv[1][0] : 'e') {
    case 'e': dead(); break;
    case 'j': jit(); break;
    case 'd': ((void (*)(void))(uintptr_t)code)(); break;
    case 'b': if (fork() == 0) dead(); wait(0); jit(); break;
    case 's': raise(SIGILL); break;
    case 'u': __builtin_trap();
    }
    return 0;
}
#endif
"""


def _escaped(code: bytes) -> tuple[str, str]:
    numbers = ",".join(f"{byte:#04x}" for byte in code)
    return numbers, f".byte {numbers}"


def build(
    folder: Path, name: str, code: bytes, *, library: bool = False, static: bool = False
) -> Path:
    """Compile a program that executes `code`: mode e in its text, j in memory of its own.

    Further modes: b does e in a child and then j, d jumps into its constants, s raises SIGILL, u
    executes UD2. With `library`, the
    code of mode e is in libdead.so beside it.
    """
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    numbers, assembly = _escaped(code)
    source = folder / f"{name}.c"
    source.write_text(_RUNNER.replace("BYTES", numbers).replace("ASSEMBLY", f'"{assembly}"'))
    program = folder / name
    if library:
        shared = folder / "libdead.so"
        _gcc(["-shared", "-fPIC", "-DIS_LIBRARY", str(source), "-o", str(shared)])
        _gcc(["-DOF_LIBRARY", str(source), str(shared), "-Wl,-rpath,$ORIGIN", "-o", str(program)])
    else:
        linked = ["-static"] if static else []
        _gcc(["-DOF_PROGRAM", *linked, str(source), "-o", str(program)])
    return program


def _gcc(arguments: Sequence[str]) -> None:
    subprocess.run(["gcc", "-O1", "-march=x86-64", *arguments], check=True, timeout=60)


def core_of(program: Path, mode: str, expected: int = signal.SIGILL) -> Path:
    """Run a program until it dies and return the core file the kernel made of it.

    Skips where the kernel gives cores to a program of its own and gdb is not there either.
    """
    folder = program.parent / f"{program.name}-{mode}"
    folder.mkdir()
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if "/" in pattern or pattern.startswith("|") or not pattern:
        return _gcore(program, mode, folder)

    def allow_cores() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)

    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard != resource.RLIM_INFINITY:
        pytest.skip("the limit of core files is too low here")
    ended = subprocess.run([program, mode], cwd=folder, preexec_fn=allow_cores, timeout=60)
    if ended.returncode == 0:
        pytest.skip("this CPU executes the instruction")
    assert ended.returncode == -expected
    (core,) = folder.iterdir()
    return core


def _gcore(program: Path, mode: str, folder: Path) -> Path:
    if shutil.which("gdb") is None:
        pytest.skip("cores go to a program of the system's and there is no gdb")
    core = folder / "core"
    commands = ["-ex", "run", "-ex", f"generate-core-file {core}", "-ex", "kill"]
    subprocess.run(
        ["gdb", "-nx", "-batch", *commands, "--args", program, mode],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return core
