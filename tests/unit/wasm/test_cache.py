"""Compiled code in a folder: found again, and never taken from somebody else."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from cpuprobe.errors import UsageError
from cpuprobe.wasm import cache
from cpuprobe.wasm.request import Request

REQUEST = Request("m", b"\0asm\1\0\0\0", "x86_64", {"has_avx": True, "has_sse3": False})


def test_what_is_kept_is_found_again(tmp_path):
    """Bytes come back as they were; nothing else lies in the folder; nobody else can read it."""
    folder = cache.prepare(str(tmp_path / "a" / "b"))
    name = cache.name_of(REQUEST, "50.0.1")
    assert cache.load(folder, name) is None
    cache.keep(folder, name, b"code")

    assert cache.load(folder, name) == b"code"
    assert os.listdir(folder) == [name]
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert os.stat(f"{folder}/{name}").st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "change",
    [
        {"module": b"\0asm\1\0\0\0\0\0"},
        {"target": "pulley64"},
        {"flags": {"has_avx": False, "has_sse3": False}},
        {"flags": {"has_avx": True}},
        {"wasm_features": {"threads": True}},
    ],
)
def test_the_name_depends_on_all_that_the_code_does(change):
    """Another module, target, flag or proposal has another file; arguments do not matter."""
    other = REQUEST._replace(**change)

    assert cache.name_of(other, "50.0.1") != cache.name_of(REQUEST, "50.0.1")
    assert cache.name_of(REQUEST, "50.0.2") != cache.name_of(REQUEST, "50.0.1")
    same = REQUEST._replace(args=("1",), name="n", invoke="f")
    assert cache.name_of(same, "50.0.1") == cache.name_of(REQUEST, "50.0.1")


def test_a_file_that_others_could_have_written_is_not_taken(tmp_path):
    """Group or world may write it, it is a FIFO, a folder or a link to such: not read, no hang."""
    folder = cache.prepare(str(tmp_path / "c"))
    for number, mode in enumerate((0o620, 0o602, 0o666)):
        path = Path(folder, f"{number}.cwasm")
        path.write_bytes(b"code")
        path.chmod(mode)
        assert cache.load(folder, path.name) is None
    Path(folder, "kept").write_bytes(b"code")
    Path(folder, "kept").chmod(0o600)
    os.symlink("0.cwasm", f"{folder}/link")
    os.mkfifo(f"{folder}/fifo", 0o600)
    os.mkdir(f"{folder}/dir", 0o700)

    assert cache.load(folder, "kept") == b"code"
    assert [cache.load(folder, name) for name in ("link", "fifo", "dir")] == [None, None, None]


def test_a_folder_that_others_can_write_to_is_refused(tmp_path):
    """At the start, in one line; and later, should it have been opened up meanwhile."""
    folder = cache.prepare(str(tmp_path / "c"))
    cache.keep(folder, "x", b"code")
    os.chmod(folder, 0o777)

    with pytest.raises(UsageError, match="others can write there"):
        cache.prepare(folder)
    assert cache.load(folder, "x") is None
    with pytest.raises(UsageError, match="--cache"):
        cache.prepare("/dev/null/x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_not_taken(tmp_path):
    """Ownership counts, whatever the mode says."""
    folder = cache.prepare(str(tmp_path / "c"))
    cache.keep(folder, "x", b"code")
    os.chown(f"{folder}/x", 65534, 65534)

    assert cache.load(folder, "x") is None


def test_run_uses_it(tmp_path):
    """The second run takes what the first has compiled; damage is compiled anew."""
    import subprocess

    pytest.importorskip("wasmtime")
    module = tmp_path / "m.wat"
    module.write_text('(module (func (export "f") (result i32) (i32.const 42)))')
    folder = tmp_path / "c"
    command = [sys.executable, "-m", "cpuprobe", "run", "--cache", str(folder), str(module),
               "--invoke", "f"]  # fmt: skip

    def ran() -> bytes:
        return subprocess.run(command, capture_output=True, check=True, timeout=120).stdout

    assert ran() == b"42\n"
    (kept,) = folder.iterdir()
    before = kept.stat().st_mtime_ns, kept.read_bytes()
    assert ran() == b"42\n"
    assert (kept.stat().st_mtime_ns, kept.read_bytes()) == before
    kept.write_bytes(b"\0" * 100)
    assert ran() == b"42\n"
    assert kept.read_bytes() == before[1]
