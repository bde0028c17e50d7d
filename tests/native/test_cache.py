"""The cache of libcpuprobe: believed only of this machine as it is now, and only if it is ours."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.lab.user import run_user
from tests.native.conftest import ISA, NATIVE
from tests.required import required

# struct cache of native/library/cache.c: magic, key, safe, refused, states, ..., checksum.
SAFE = slice(32, 48)
CHECKSUM = slice(-8, None)

PROGRAM = """
#include <cpuprobe.h>
#include <stdio.h>

int
main(int count, char **arguments)
{
    char flags[CPUPROBE_FLAGS_BYTES];

    (void)count;
    if (cpuprobe_safe_flags_cached(arguments[1], 0, flags, sizeof flags) < 0)
        return 3;
    fputs(flags, stdout);
    return 0;
}
"""


def fnv(data: bytes) -> bytes:
    """FNV-1a of 64 bits, as it lies in memory."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 2**64 - 1
    return value.to_bytes(8, "little")


def forged(content: bytes) -> bytes:
    """A cache by which nothing is safe, with a checksum that is right."""
    changed = content[: SAFE.start] + bytes(16) + content[SAFE.stop : CHECKSUM.start]
    return changed + fnv(changed)


def cached(library: ctypes.CDLL, path: Path) -> str:
    """The flags by a cache file."""
    out = ctypes.create_string_buffer(1024)
    length = library.cpuprobe_safe_flags_cached(os.fsencode(path), 0, out, 1024)
    assert length == len(out.value), library.cpuprobe_error_text(length)
    return out.value.decode()


def truth(library: ctypes.CDLL) -> str:
    """The flags without one."""
    out = ctypes.create_string_buffer(1024)
    assert library.cpuprobe_safe_flags(0, out, 1024) > 0
    return out.value.decode()


def test_a_file_is_written_and_read(library: ctypes.CDLL, tmp_path: Path) -> None:
    """What a file of ours says is taken without measuring, for every version of wasmtime."""
    path, out = tmp_path / "cache", ctypes.create_string_buffer(1024)
    first = cached(library, path)
    content = path.read_bytes()
    path.write_bytes(forged(content))

    assert first == truth(library)
    assert content[CHECKSUM] == fnv(content[: CHECKSUM.start])
    assert path.stat().st_mode & 0o777 == 0o600
    assert set(cached(library, path).split("=")[1:]) == {
        part for part in cached(library, path).split("=")[1:] if part.startswith("false")
    }
    assert library.cpuprobe_safe_flags_cached(os.fsencode(path), 13, out, 1024) > 0
    assert b"true" not in out.value
    assert os.listdir(tmp_path) == ["cache"]


def _append(path: Path, content: bytes) -> None:
    path.write_bytes(content + b"\0")


def _cut(path: Path, content: bytes) -> None:
    path.write_bytes(content[:-1])


def _empty(path: Path, content: bytes) -> None:
    path.write_bytes(b"")


def _checksum(path: Path, content: bytes) -> None:
    path.write_bytes(content[: CHECKSUM.start] + bytes(8))


def _group(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o620)


def _others(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o602)


def _owner(path: Path, content: bytes) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path.write_bytes(content)
    os.chown(path, 65534, 65534)


def _symlink(path: Path, content: bytes) -> None:
    real = path.with_name("real")
    real.write_bytes(content)
    path.symlink_to(real)


def _hard_link(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.link(path, path.with_name("other"))


def _fifo(path: Path, content: bytes) -> None:
    os.mkfifo(path)


STRANGE: Mapping[str, Callable[[Path, bytes], None]] = {
    "longer": _append,
    "shorter": _cut,
    "empty": _empty,
    "a wrong checksum": _checksum,
    "writable by its group": _group,
    "writable by others": _others,
    "of another user": _owner,
    "a symbolic link": _symlink,
    "a second name of a file": _hard_link,
    "a FIFO": _fifo,
}


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_what_is_not_believed(
    library: ctypes.CDLL, tmp_path: Path, make: Callable[[Path, bytes], None]
) -> None:
    """A forged file is not believed unless it is all that it should be; it is replaced."""
    path = tmp_path / "cache"
    wanted = cached(library, path)
    content = forged(path.read_bytes())
    path.unlink()
    make(path, content)

    assert cached(library, path) == wanted
    assert path.is_file() and not path.is_symlink()
    assert path.stat().st_uid == os.geteuid()
    assert cached(library, path) == wanted
    real = path.with_name("real")
    assert not real.exists() or real.read_bytes() == content


def test_every_byte_counts(library: ctypes.CDLL, tmp_path: Path) -> None:
    """A file with any byte changed is not believed."""
    path = tmp_path / "cache"
    wanted = cached(library, path)
    content = path.read_bytes()

    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :])
        assert cached(library, path) == wanted
        assert path.read_bytes() == content, at


def test_folders_that_cannot_be_written(library: ctypes.CDLL, tmp_path: Path) -> None:
    """Without a place for the file the answer is the same."""
    wanted = truth(library)

    for path in (tmp_path, tmp_path / "none" / "cache", Path("/proc/cache"), Path("x" * 5000)):
        assert cached(library, path) == wanted
    assert os.listdir(tmp_path) == []


def test_another_set_of_cpus_is_measured_anew(library: ctypes.CDLL, tmp_path: Path) -> None:
    """What holds on some CPUs is not taken for others."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("one CPU only")
    path = tmp_path / "cache"
    wanted = cached(library, path)
    path.write_bytes(forged(path.read_bytes()))
    try:
        os.sched_setaffinity(0, {min(allowed)})
        seen = cached(library, path)
    finally:
        os.sched_setaffinity(0, allowed)

    assert seen == wanted


def test_another_version_of_the_library_measures_anew(
    library: ctypes.CDLL, prefix: Path, tmp_path: Path
) -> None:
    """A file of another release is not believed, though nothing of the machine has changed."""
    sources = tmp_path / "native"
    shutil.copytree(NATIVE, sources)
    words = sources / "words.h"
    newer, count = re.subn(r'(define CPUPROBE_VERSION ")', r"\g<1>9.", words.read_text())
    assert count == 1
    words.write_text(newer)
    objects = set((prefix / "objects").rglob("*.o")) - {prefix / "objects" / "libcpuprobe.o"}
    options = ["-std=gnu11", "-ffreestanding", "-fPIC", "-fvisibility=hidden", "-shared"]
    options += [f"-I{sources / 'isa' / ISA.name}"]
    rest = [*sorted(objects - {prefix / "objects" / "library" / "key.o"}), "-o", tmp_path / "of.so"]
    source = sources / "library" / "key.c"
    subprocess.run([required("gcc"), *options, str(source), *map(str, rest)], check=True)
    other = ctypes.CDLL(str(tmp_path / "of.so"))
    path = tmp_path / "cache"
    wanted = cached(library, path)
    path.write_bytes(forged(path.read_bytes()))

    assert "true" not in cached(library, path)
    assert cached(other, path) == wanted
    assert cached(library, path) == wanted


def test_many_at_once(library: ctypes.CDLL, tmp_path: Path) -> None:
    """Writers and readers at the same time: each gets the answer, and no other file stays."""
    path = tmp_path / "cache"
    wanted = truth(library)
    seen: set[str] = set()

    def ask() -> None:
        for _ in range(3):
            seen.add(cached(library, path))
            path.unlink(missing_ok=True)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == {wanted}
    assert set(os.listdir(tmp_path)) <= {"cache"}


@pytest.fixture(scope="module")
def program(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static program with a cache, for machines that are emulated."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "cached.c").write_text(PROGRAM)
    command = [required("gcc"), "-static", f"-I{prefix / 'include'}", "cached.c"]
    command += ["-o", "cached", str(prefix / "lib" / "libcpuprobe.a")]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "cached"


CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 99
stepping\t: 4
microcode\t: {microcode}
cpu MHz\t\t: {mhz}
flags\t\t: fpu sse sse2

"""
FILES = {
    "/proc/sys/kernel/random/boot_id": "11111111-2222-3333-4444-555555555555\n",
    "/proc/sys/kernel/osrelease": "6.1.0\n",
    "/proc/sys/kernel/version": "#1 SMP Debian\n",
    "/proc/cmdline": "quiet\n",
    "/proc/cpuinfo": CPUINFO.format(microcode="0x1", mhz="1000.000"),
}
CHANGED: Mapping[str, tuple[str, dict[str, str], bool]] = {
    "nothing": ("Haswell", {}, True),
    "the clock": (
        "Haswell",
        {"/proc/cpuinfo": CPUINFO.format(microcode="0x1", mhz="2345.678")},
        True,
    ),
    "the boot": (
        "Haswell",
        {"/proc/sys/kernel/random/boot_id": "11111111-2222-3333-4444-555555555556\n"},
        False,
    ),
    "the microcode": (
        "Haswell",
        {"/proc/cpuinfo": CPUINFO.format(microcode="0x2", mhz="1000.000")},
        False,
    ),
    "the kernel": ("Haswell", {"/proc/sys/kernel/osrelease": "6.1.1\n"}, False),
    "its build": ("Haswell", {"/proc/sys/kernel/version": "#2 SMP Debian\n"}, False),
    "the command line": ("Haswell", {"/proc/cmdline": "quiet noxsave\n"}, False),
    "the CPU": ("Broadwell", {}, False),
    "a feature": ("Haswell,-avx2", {}, False),
    "no boot is told": ("Haswell", {"/proc/sys/kernel/random/boot_id": ""}, False),
}


@pytest.mark.parametrize(("cpu", "files", "believed"), CHANGED.values(), ids=CHANGED)
def test_what_a_cache_is_of(
    program: Path, tmp_path: Path, cpu: str, files: dict[str, str], believed: bool
) -> None:
    """A cache made before any of this changed is not believed after it."""
    path = tmp_path / "cache"

    def ask(model: str, told: Mapping[str, str]) -> str:
        content = {name: text.encode() for name, text in told.items()}
        run = run_user(model, [program, path], files=content)
        assert run.status == "exit 0", run.stderr
        return run.stdout.decode()

    first = ask("Haswell", FILES)
    path.write_bytes(forged(path.read_bytes()))
    second = ask(cpu, {**FILES, **files})

    assert "has_avx2=true" in first
    assert ("true" not in second) == believed
