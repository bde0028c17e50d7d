"""The children in which wasmtime runs: what they see, how their ends are told."""

from __future__ import annotations

import errno
import gzip
import sys
import tempfile
from pathlib import Path

import pytest

from cpuprobe.cli import run, running
from cpuprobe.code.engine_section import read_engine_section
from cpuprobe.evidence.installed import installed_version
from cpuprobe.fleet.apart import Apart
from cpuprobe.fleet.piece import Piece
from cpuprobe.wasm.children import ChildError, run_script, word_of
from cpuprobe.wasm.introspect import installed_flags, known_flags

needs_wasmtime = pytest.mark.skipif(installed_version() is None, reason="no wasmtime")


def output(script: str, *arguments: str, patience: float = 60.0) -> bytes:
    return b"".join(run_script(script, arguments, patience=patience))


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Makes this program the wasmtime that is found."""
    (folder / "wasmtime").mkdir()
    (folder / "wasmtime" / "__init__.py").write_text(program)
    monkeypatch.syspath_prepend(str(folder))


@needs_wasmtime
def test_a_root_without_a_folder_to_write_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A read-only container: wasmtime is asked all the same, and what needs a folder says so."""
    with monkeypatch.context() as patched:  # pytest itself needs a folder behind it
        patched.setattr(tempfile, "tempdir", "/nonexistent/folder")

        assert output("print(1)") == b"1\n"
        with pytest.raises(ChildError, match="no"):
            output("raise SystemExit('no')")
        assert run(["verify"]) == 3
    assert capsys.readouterr().err == (
        "cpuprobe: error: no folder for temporary files can be written: name one in TMPDIR\n"
    )


def test_only_what_writing_meets_is_put_on_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error without a file is nobody's in particular: too many processes, say."""
    for number, where in ((errno.ENOSPC, "standard output: "), (errno.EAGAIN, "")):

        def fail(*_: object, number: int = number) -> int:
            raise OSError(number, "words")

        monkeypatch.setattr(running, "plain", fail)

        assert run(["run", "x.wasm"]) == 3
        assert capsys.readouterr().err == f"cpuprobe: error: {where}words\n"


@needs_wasmtime
def test_version_agrees_with_the_package_itself() -> None:
    script = "import importlib.metadata as m; print(m.version('wasmtime'))"

    assert output(script).decode().strip() == installed_version()


@needs_wasmtime
def test_version_does_not_import_wasmtime() -> None:
    script = (
        "from cpuprobe.evidence.installed import installed_version\n"
        "assert installed_version()\n"
        "print([m for m in sys.modules if m.split('.')[0] == 'wasmtime'])\n"
    )

    assert output(script) == b"[]\n"


@needs_wasmtime
def test_the_current_folder_is_not_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file called wasmtime.py where somebody works is not run."""
    (tmp_path / "wasmtime.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)

    assert output("import wasmtime; print(wasmtime.__name__)") == b"wasmtime\n"


@needs_wasmtime
def test_flags_are_those_of_the_table() -> None:
    assert tuple(installed_flags()) == known_flags(installed_version())


@needs_wasmtime
def test_a_flag_turned_off_reads_as_off() -> None:
    script = (
        "from wasmtime import Config, Engine, Module\n"
        "from cpuprobe.wasm.configure import set_option\n"
        "config = Config()\n"
        "set_option(config, 'cranelift_flag', 'has_sse42', sys.argv[1])\n"
        "sys.stdout.buffer.write(Module(Engine(config), '(module)').serialize())\n"
    )
    section = read_engine_section(output(script, "false"))

    assert section.isa_flags["has_sse42"] is False
    assert section.target.startswith("x86_64")
    assert section.version == (installed_version() or "").partition(".")[0]


@pytest.mark.parametrize(
    ("script", "message", "code"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "killed by SIGILL", -4),
        ("raise ValueError('no')", "ValueError: no", 1),
        ("sys.exit(7)", "exit code 7", 7),
        ("sys.exit('\\x1b[2J')", "\ufffd\\[2J", 1),
    ],
)
def test_an_end_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str, code: int
) -> None:
    """The signal or the last words, on one line and without control characters."""
    fake(tmp_path, monkeypatch, "")
    with pytest.raises(ChildError, match=message) as caught:
        output(script)

    assert caught.value.code == code
    assert caught.value.answered
    assert str(caught.value).isprintable()


def test_a_hanging_child_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, "")
    with pytest.raises(ChildError, match=r"within 0\.2 s") as caught:
        output("import time; time.sleep(600)", patience=0.2)

    assert not caught.value.answered


@pytest.mark.parametrize(
    ("program", "message"),
    [
        # The engine sections of what these serialize are none, and one for another target.
        ("SAID = b'nothing'", "not an ELF file"),
        ("raise ImportError('no such library')", "no such library"),
    ],
)
def test_an_unreadable_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, message: str
) -> None:
    classes = """
class Config: pass
class Engine:
    def __init__(self, config): pass
class WasmtimeError(Exception): pass
class Module:
    def __init__(self, engine, wasm): pass
    def serialize(self): return SAID
"""
    fake(tmp_path, monkeypatch, program + classes)
    with pytest.raises(ChildError, match=message):
        installed_flags()


def test_without_wasmtime_there_is_no_version_and_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])

    assert installed_version() is None
    with pytest.raises(ChildError, match="pip install wasmtime") as caught:
        installed_flags()
    assert caught.value.code is None
    assert not caught.value.answered


def test_a_signal_has_one_name() -> None:
    """Linux' names, and a number for what has none (signal(7))."""
    assert [word_of(number) for number in (4, 9, 11, 99)] == [
        "SIGILL",
        "SIGKILL",
        "SIGSEGV",
        "signal 99",
    ]


@needs_wasmtime
def test_what_lies_in_the_current_folder_is_never_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by an interpreter with wasmtime in it, nor by one that reads captures apart."""
    for name in (*sys.stdlib_module_names, "cpuprobe", "msgspec", "wasmtime"):
        (tmp_path / f"{name}.py").write_text("open('executed', 'a').write(__name__ + ' ')\n")
    monkeypatch.chdir(tmp_path)

    assert output("import json; print(1)") == b"1\n"
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"flags : fpu lm sse sse2\n"))
    apart = Apart()
    with open("x.gz", "rb") as file:
        assert [type(each) for each in apart.pieces(file.fileno(), "x.gz")] == [Piece]
    apart.close()
    assert not (tmp_path / "executed").exists()
