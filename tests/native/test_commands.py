"""The commands of cpuprobe-native: flags, check-flags, level, and what it says on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from cpuprobe.assessment import assess
from cpuprobe.emit import FORMATS
from cpuprobe.emit.choose import choose
from cpuprobe.evidence.observation import Document, Observation
from cpuprobe.facts.tables import load_table
from tests.required import required

LIAR = "Haswell,x-force-features=on,+avx512f,+avx512vl,+avx512dq"


@pytest.fixture(scope="module")
def native(native_builds: tuple[Path, Path]) -> Path:
    """cpuprobe-native as it is shipped."""
    return native_builds[0]


@pytest.fixture(scope="module")
def observed(native: Path) -> Observation:
    """What it sees here."""
    printed = subprocess.run([native], capture_output=True, check=True).stdout
    return msgspec.json.decode(printed, type=Document).observation


def run(*command: object, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [str(word) for word in command], input=given, capture_output=True, timeout=60
    )


def on_terminal(*command: object, columns: int = 80) -> list[str]:
    """The lines that a command writes on a terminal of that width."""
    process, descriptor = pty.fork()
    if process == 0:  # pragma: no cover
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.execv(str(command[0]), [str(word) for word in command])
    written = b""
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # EIO: the other side is closed
            break
        if not part:
            break
        written += part
    os.waitpid(process, 0)
    os.close(descriptor)
    return written.decode("ascii").replace("\r\n", "\n").splitlines()


def fake_root(
    folder: Path, *, cmdline: str = "", gds: str | None = None, flags: str | None = None
) -> Path:
    """A /proc and /sys that say something of the machine."""
    files: dict[str, str] = {
        "proc/sys/kernel/osrelease": "6.1.0-49-amd64\n",
        "proc/cmdline": cmdline + "\n",
    }
    if flags is not None:
        files["proc/cpuinfo"] = f"processor\t: 0\nflags\t\t: {flags}\n"
    if gds is not None:
        files["sys/devices/system/cpu/vulnerabilities/gather_data_sampling"] = gds + "\n"
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize("version", ["50", "v47.0.1", "13"])
@pytest.mark.parametrize("form", ["text", "json", "cli", "clif"])
def test_flags_are_those_of_cpuprobe(
    native: Path, observed: Observation, form: str, version: str
) -> None:
    """Each dialect is written as `cpuprobe flags` writes it, for each version."""
    done = run(native, "flags", "--format", form, "--wasmtime", version)
    wanted = FORMATS[form](choose([assess(observed, version)]))

    assert (done.returncode, done.stderr) == (0, b"")
    if form == "json":
        assert json.loads(done.stdout) == json.loads(wanted)
    else:
        assert done.stdout.decode() == wanted


def test_the_level(native: Path, observed: Observation) -> None:
    """The level alone, for a script."""
    assert run(native, "level").stdout.decode() == f"{assess(observed).level}\n"


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_flags_prints_holds_here(native: Path, form: str) -> None:
    """A set that was made here is taken back, as text and as JSON, from a pipe."""
    made = run(native, "flags", "--format", form).stdout
    done = run(native, "check-flags", "-", given=made)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"all flags hold here\n", b"")


def test_flags_of_a_better_cpu_do_not_hold(native: Path, tmp_path: Path) -> None:
    """A CPU without AVX names each flag that does not hold, and why."""
    flags = tmp_path / "flags.json"
    flags.write_text('{"has_sse41": true, "has_avx": true, "has_bmi1": false, "has_lzcnt": true}')
    done = run(required("qemu-x86_64"), "-cpu", "Nehalem", native, "check-flags", flags)

    assert done.returncode == 1
    assert done.stdout == b"has_avx=true: avx is absent\nhas_lzcnt=true: lzcnt is absent\n"


def test_the_lying_cpu(native: Path) -> None:
    """Where CPUID claims AVX-512 and executing it faults, no flag of it is on and none holds."""
    lying = (required("qemu-x86_64"), "-cpu", LIAR, native)
    flags = json.loads(run(*lying, "flags", "--format", "json").stdout)
    done = run(*lying, "check-flags", "-", given=b"has_avx512f=true\nhas_avx2=true\n")

    assert flags["has_avx2"] is True
    assert {flag for flag, on in flags.items() if on and "512" in flag} == set()
    assert (done.returncode, done.stdout) == (1, b"has_avx512f=true: avx512f is broken\n")


def test_an_unknown_flag_is_named(native: Path) -> None:
    """A name that this wasmtime does not know makes it fail, whatever its value."""
    done = run(
        native, "check-flags", "--wasmtime", "47", "-", given=b"# mine\n\nhas_avx_vnni=false\n"
    )

    assert done.returncode == 1
    assert done.stdout == (
        b"has_avx_vnni=false: wasmtime 47 knows no such flag, and setting it fails\n"
    )


HOSTILE = {
    "empty": b"",
    "comments only": b"# nothing\n\n",
    "no value": b"has_avx\n",
    "another value": b"has_avx=yes\n",
    "more on the line": b"has_avx=true true\n",
    "a terminal's command": b"has_avx=true\n\x1b[31m=true\n",
    "upper case": b"HAS_AVX=true\n",
    "a name without end": b"a" * 60000 + b"=true\n",
    "64 KiB of zeros": bytes(65536),
    "longer than that": b"has_avx=true\n" * 6000,
    "an array": b"[true]",
    "a number": b'{"has_avx": 1}',
    "an object in it": b'{"has_avx": {"a": true}}',
    "an open object": b'{"has_avx": true',
    "a comma too many": b'{"has_avx": true,}',
    "two objects": b'{"has_avx": true}{}',
    "an escape": b'{"has\\u005favx": true}',
    "an open string": b'{"has_avx',
    "deep": b"[" * 60000,
    "no text": bytes(range(256)),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_set_of_flags_is_refused(native: Path, content: bytes) -> None:
    """Exit code 4 and one line, without a byte of the file in it."""
    done = run(native, "check-flags", "-", given=content)

    assert (done.returncode, done.stdout) == (4, b"")
    assert done.stderr.startswith(b"cpuprobe-native: -: ")
    assert done.stderr.count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F or byte == 0x0A for byte in done.stderr)


def test_files_that_cannot_be_read(native: Path, tmp_path: Path) -> None:
    """A folder, a missing file and a FIFO nobody writes to are unreadable, without a hang."""
    os.mkfifo(tmp_path / "fifo")
    for file in (tmp_path, tmp_path / "none", tmp_path / "fifo"):
        assert run(native, "check-flags", file).returncode == 4, file


@pytest.mark.parametrize(
    "words",
    [
        ("flag",),
        ("flags", "more"),
        ("flags", "--wasmtime"),
        ("flags", "--wasmtime", "26"),
        ("flags", "--wasmtime", "x"),
        ("flags", "--wasmtime", "4294967346"),
        ("flags", "--format", "toml"),
        ("check-flags",),
        ("check-flags", "a", "b"),
        ("check-flags", "--json", "a"),
        ("--json", "level"),
        ("level", "--format", "json"),
        ("level", "--wasmtime", "50"),
        ("--format", "json"),
        ("--wasmtime", "50"),
        ("--jsn",),
    ],
)
def test_usage_errors(native: Path, words: tuple[str, ...]) -> None:
    """What is no command line exits with 2 and one line."""
    done = run(native, *words)

    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)


def test_json_is_for_pipes_and_for_who_asks(native: Path) -> None:
    """JSON where it is piped, words on a terminal, and JSON there with --json."""
    assert json.loads(run(native).stdout)["schema"] == "cpuprobe.report/1"
    assert json.loads("".join(on_terminal(native, "--json")))["schema"] == "cpuprobe.report/1"
    assert on_terminal(native)[0].startswith("  machine ")


def test_a_good_machine_on_a_terminal(native: Path) -> None:
    """What works and how to go on, in at most twenty lines of 80 columns."""
    lines = on_terminal(required("qemu-x86_64"), "-cpu", "Nehalem", native)
    text = "\n".join(lines)

    assert len(lines) <= 20
    assert max(map(len, lines)) <= 80
    assert "  OK          This machine does what it claims: " in text
    assert "  level       x86-64-v2\n" in text
    assert "  has         SSE4.2\n  has not     AVX AVX2 FMA" in text
    assert "guest of QEMU's TCG" in " ".join(text.split())
    assert "microcode" not in text, "that of the host's /proc/cpuinfo"


def test_a_claim_without_its_base_on_a_terminal(native: Path) -> None:
    """AVX without SSSE3, and nothing executed: what cannot be safe is no asset."""
    qemu = (required("qemu-x86_64"), "-cpu", "Haswell,-ssse3", native, "--no-exec", "--cpus", "0")
    told = on_terminal(*qemu)

    assert "  not safe    SSE4.2 AVX AVX2 FMA" in told
    assert "  has         BMI2 AES" in told
    assert not any("Nothing known" in line for line in told)
    assert any("claimed without what they build on" in line for line in told)


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_the_lying_cpu_on_a_terminal(native: Path, columns: int) -> None:
    """What is broken, why, what to do, until then; wrapped to the terminal."""
    words = (required("qemu-x86_64"), "-cpu", LIAR, native)
    lines = [
        line for line in on_terminal(*words, columns=columns) if not line.startswith("qemu-x86_64:")
    ]
    text = " ".join(" ".join(lines).split())

    assert max(map(len, lines)) <= max(columns, 40)
    assert "MISMATCH rtm, avx512f, avx512dq and avx512vl: claimed, but crashes" in text
    assert "why an emulator or hypervisor (TCGTCGTCGTCG) claims in CPUID" in text
    assert "fix Choose a CPU model that the emulator implements" in text
    assert "until then cpuprobe-native flags --format cli" in text
    if columns >= 80:
        assert len(lines) <= 20


CAUSES: Mapping[str, tuple[str, str, str]] = {
    "a word of the command line": ("quiet clearcpuid=123,avx2", "command-line", "avx2"),
    "its number": ("clearcpuid=293", "command-line", "avx2"),
    "what it builds on": ("clearcpuid=avx", "command-line", "avx, fma and avx2"),
    "another feature's word": ("clearcpuid=smap", "unknown", "cx8, syscall, cmov, mmx and"),
}


@pytest.mark.parametrize(("cmdline", "wanted", "of"), CAUSES.values(), ids=CAUSES)
def test_the_cause_if_the_kernel_tells_it(
    native: Path, tmp_path: Path, cmdline: str, wanted: str, of: str
) -> None:
    """What the command line explains comes first, with the word; the rest is not put on it."""
    listed = "fpu sse sse2 pni ssse3 sse4_1 sse4_2 xsave f16c popcnt bmi1 bmi2 movbe abm"
    root = fake_root(
        tmp_path, flags=f"{listed} {'avx fma' if of == 'avx2' else ''}", cmdline=cmdline
    )
    words = (required("qemu-x86_64"), "-cpu", "Haswell", native, "--cpus", "0", "--root", root)
    text = " ".join(" ".join(on_terminal(*words)).split())
    rows = {row["id"]: row["text"] for row in load_table("findings")["cause"]}
    cause = rows[wanted].replace("{word}", cmdline.rsplit(maxsplit=1)[-1])

    assert re.search(rf"MISMATCH the kernel has switched off {of}.*? why {re.escape(cause)}", text)


# XSAVE taken from a model leaves AVX in CPUID, with its register state off.
STATE_OFF: Mapping[str, tuple[str, str, str]] = {
    "GDS": ("Skylake-Client,-hypervisor", "gather_data_sampling=force", "gds"),
    "GDS inside a guest": ("Skylake-Client", "gather_data_sampling=force", "hypervisor"),
    "GDS on a CPU without the flaw": (
        "Haswell,-hypervisor",
        "gather_data_sampling=force",
        "unknown",
    ),
    "a word": ("Haswell,-hypervisor", "quiet noxsave", "command-line"),
}


@pytest.mark.parametrize(("cpu", "cmdline", "wanted"), STATE_OFF.values(), ids=STATE_OFF)
def test_why_register_state_is_off(
    native: Path, tmp_path: Path, cpu: str, cmdline: str, wanted: str
) -> None:
    """AVX that CPUID claims and XCR0 denies: the cause is the one that Python argues."""
    gds = "Mitigation: AVX disabled, no microcode"
    root = fake_root(tmp_path, cmdline=cmdline, gds=gds)
    qemu = (required("qemu-x86_64"), "-cpu", f"{cpu},-xsave", native, "--cpus", "0", "--root", root)
    told = on_terminal(*qemu)
    lines = [line for line in told if not line.startswith("qemu-x86_64:")]
    text = " ".join(" ".join(lines).split())
    observation = msgspec.json.decode(run(*qemu).stdout, type=Document).observation
    causes = {f.code: f.cause for f in assess(observation).findings}
    row = next(row for row in load_table("findings")["cause"] if row["id"] == wanted)

    assert "MISMATCH avx, f16c, fma and avx2: not usable here" in text
    assert f"why {causes['CP101']}." in text
    assert causes["CP101"].startswith(row["text"].partition("{")[0])
    assert len(lines) <= 20
