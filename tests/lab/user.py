"""Runs programs on QEMU's user-mode emulator, and asks QEMU what its x86 CPU models have.

Under `qemu-x86_64 -cpu MODEL` an instruction the model lacks raises SIGILL (or decodes as what it
was before, LZCNT as BSR), while everything the kernel says is this machine's. `files` puts other
text in place of it.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.architecture import X86_64
from tests.lab.common import LabError, cache_dir, digest, locked, run_tool, tail, tool
from tests.lab.qmp import stopped
from tests.lab.watch import load

# `host` needs KVM; `base` is abstract, QEMU dies on it.
_NOT_MODELS = frozenset({"host", "base"})

# A guest's fatal signal makes QEMU write qemu_NAME_DATE.core into the working folder, if it may.
_WITHOUT_CORES = ("/bin/sh", "-c", 'ulimit -S -c 0; exec "$@"', "sh")

_REFUSALS = (
    b"unable to find CPU model",
    b"can't apply global",
    b"' not found",
    b"does not support 64 bit mode",
)

# Second names of one CPUID bit (target/i386/cpu.c, x86_cpu_initfn). unavailable-features gives only
# the first.
_ALIASES = {
    "ffxsr": "fxsr-opt",
    "i64": "lm",
    "pclmuldq": "pclmulqdq",
    "sse3": "pni",
    "sse4-1": "sse4.1",
    "sse4-2": "sse4.2",
    "sse4_1": "sse4.1",
    "sse4_2": "sse4.2",
    "xd": "nx",
}


@dataclass(frozen=True)
class UserRun:
    """How a program ended under the user-mode emulator.

    Attributes:
        status: "exit N" or "signal N".
        stdout: what it wrote to file descriptor 1.
        stderr: the same of 2, QEMU's own warnings included.
        seconds: wall time.
    """

    status: str
    stdout: bytes
    stderr: bytes
    seconds: float


def run_user(
    cpu: str,
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    files: Mapping[str, bytes] | None = None,
    cpuinfo: str | None = None,
    timeout: float = 60,
    emulator: str | Path | None = None,
    root: Path | None = None,
) -> UserRun:
    """Run a program under QEMU's user-mode emulator with `-cpu CPU`.

    Args:
        cpu: a model and properties, e.g. "Haswell,x-force-features=on,+avx512f".
        argv: the program and its arguments.
        env: variables to add to the environment.
        files: absolute path to content: what the program finds when it opens these by name. QEMU
            looks below its -L folder first (linux-user/syscall.c, path()), so that no mount and no
            privilege is needed. A folder listing does not show them.
        cpuinfo: short for files={"/proc/cpuinfo": ...}.
        timeout: seconds, more beside a load.
        emulator: its path, qemu-x86_64 of this machine if not given.
        root: a folder in which the program finds its files before this machine's; not with `files`.

    Raises:
        LabError: it took too long (it is then killed), or QEMU refused the CPU.
        LabMissing: qemu-x86_64 is not installed.
    """
    overlay = dict(files or {})
    if cpuinfo is not None:
        overlay["/proc/cpuinfo"] = cpuinfo.encode()
    command: list[str | Path] = [emulator or tool(*X86_64.user), "-cpu", cpu]
    if root is not None:
        command += ["-L", root]
    with tempfile.TemporaryDirectory(prefix="cpuprobe-lab-") as name:
        if overlay:
            for path, content in overlay.items():
                target = Path(name) / path.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            command += ["-L", name]
        started = time.monotonic()
        # A session of its own: the program's children are stopped with it.
        with subprocess.Popen(
            [*_WITHOUT_CORES, *command, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        ) as child:
            try:
                stdout, stderr = child.communicate(timeout=timeout * load())
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                _, stderr = child.communicate()
                raise LabError(
                    f"{argv[0]} under -cpu {cpu} took over {timeout:g} s and was killed;"
                    f" stderr ends:\n"
                    f"{tail(stderr.decode(errors='replace'), 10)}"
                ) from None
        seconds = time.monotonic() - started
    # qemu-x86_64 kills itself with the guest's signal, so the usual sign convention holds.
    code = child.returncode
    status = f"exit {code}" if code >= 0 else f"signal {-code}"
    if code == 1 and not stdout and any(words in stderr for words in _REFUSALS):
        raise LabError(f"QEMU refuses -cpu {cpu}: {tail(stderr.decode(errors='replace'), 2)}")
    return UserRun(status, stdout, stderr, seconds)


def _ask_all_models() -> dict[str, dict[str, Any]]:
    """Ask QEMU for every model's properties, and for those the emulator cannot do."""
    answers: dict[str, dict[str, Any]] = {}
    with stopped("-machine", "none") as qmp:
        for definition in qmp.ask("query-cpu-definitions"):
            name = definition["name"]
            if name in _NOT_MODELS:
                continue
            full = qmp.ask("query-cpu-model-expansion", type="full", model={"name": name})
            on = {key for key, value in full["model"]["props"].items() if value is True}
            answers[name] = {
                "on": sorted(on),
                "unavailable": sorted(definition["unavailable-features"]),
            }
    return answers


@functools.cache
def _all_models() -> dict[str, dict[str, Any]]:
    """The same from the cache, which knows the QEMU by its version; asking takes seconds."""
    version = run_tool([tool("qemu-system-x86_64", "qemu-system-x86"), "--version"])
    path = cache_dir() / f"qemu-models-{digest(version)}.json"
    with locked(path):
        if not path.exists():
            half = path.with_name(f"{path.name}.part")
            half.write_text(json.dumps(_ask_all_models()))
            half.replace(path)
    known: dict[str, dict[str, Any]] = json.loads(path.read_text())
    return known


@functools.cache
def models() -> tuple[str, ...]:
    """Return the CPU models qemu-x86_64 runs 64-bit programs on, versions and aliases too.

    qemu-x86_64 refuses a model without long mode (CPUID.80000001H:EDX.LM[bit 29], QEMU's property
    `lm`).

    Raises:
        LabMissing: a QEMU is not installed.
    """
    # QEMU 7.2 prints the list and exits with 1, later ones with 0.
    helped = run_tool([tool("qemu-x86_64", "qemu-user"), "-cpu", "help"], good=(0, 1))
    listed = {line.split()[1] for line in helped.splitlines() if line.startswith("x86 ")}
    return tuple(
        sorted(
            name for name, facts in _all_models().items() if name in listed and "lm" in facts["on"]
        )
    )


def model_features(model: str) -> frozenset[str]:
    """Return the names of QEMU's CPU properties that are on for a model as the emulator runs it.

    From query-cpu-model-expansion (what the model's definition says) less query-cpu-definitions'
    unavailable-features (what TCG cannot do and so leaves out of CPUID). Names are QEMU's, with
    hyphens: "avx512f", "sse4.1", "lahf-lm", "abm"; properties that are no CPUID bit ("check",
    "pmu") are among them.

    Raises:
        LabError: QEMU has no such model.
    """
    facts = _all_models().get(model)
    if facts is None:
        raise LabError(f"QEMU knows no CPU model {model!r}")
    missing = frozenset(facts["unavailable"])
    return frozenset(name for name in facts["on"] if _first_name(name) not in missing)


def _first_name(name: str) -> str:
    return _ALIASES.get(name, name.replace("_", "-"))


def machine_features(cpu: str) -> frozenset[str]:
    """Return the same for any -cpu value, from the CPU object of a stopped machine.

    Unlike `model_features` this sees properties given after the model, x-force-features included.

    Raises:
        LabError: QEMU refuses the value.
    """
    with stopped("-machine", "q35", "-cpu", cpu) as qmp:
        path = qmp.ask("query-cpus-fast")[0]["qom-path"]
        properties = qmp.ask("qom-list", path=path)
        names = [entry["name"] for entry in properties if entry["type"] == "bool"]
        return frozenset(
            name for name in names if qmp.ask("qom-get", path=path, property=name) is True
        )
