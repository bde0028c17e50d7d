"""Components under `cpuprobe run`: commands of WASI 0.2, and exported functions."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("wasmtime.component")

COMPONENT = """(component
  (import "wasi:cli/exit@0.2.0"
    (instance $exit (export "exit" (func (param "status" (result))))))
  (alias export $exit "exit" (func $f))
  (core func $lowered (canon lower (func $f)))
  (core module $m
    (import "h" "exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 8) "\\20\\00\\00\\00\\03\\00\\00\\00")
    (data (i32.const 32) "h\\c3\\a9")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "run") (result i32) BODY)
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "half") (param f32) (result f32) (f32.mul (local.get 0) (f32.const 0.1)))
    (func (export "text") (param i32 i32) (result i32) (i32.const 8))
    (func (export "not") (param i32) (result i32) (i32.eqz (local.get 0))))
  (core instance $i (instantiate $m (with "h" (instance (export "exit" (func $lowered))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.3" (instance $command))
  (func $add (param "a" u32) (param "b" s8) (result u32) (canon lift (core func $i "add")))
  (func $half (param "x" f32) (result f32) (canon lift (core func $i "half")))
  (func $not (param "x" bool) (result bool) (canon lift (core func $i "not")))
  (func $text (param "s" string) (result string)
    (canon lift (core func $i "text") (memory (core memory $i "memory"))
      (realloc (core func $i "realloc"))))
  (export "add" (func $add))
  (export "half" (func $half))
  (export "text" (func $text))
  (instance $sums (export "total" (func $add)) (export "not" (func $not)))
  (export "my:pkg/sums@0.1.0" (instance $sums)))"""


def run(path, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "cpuprobe", "run", "--quiet", str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=dict(os.environ),
    )


@pytest.fixture(scope="module")
def component(tmp_path_factory):
    """A function that writes the component with a body for its command."""
    folder = tmp_path_factory.mktemp("component")

    def make(body="(i32.const 0)"):
        path = folder / "c.wat"
        path.write_text(COMPONENT.replace("BODY", body))
        return path

    return make


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("(i32.const 0)", 0, ""),
        ("(i32.const 1)", 1, ""),
        ("(call $exit (i32.const 1)) (i32.const 0)", 1, ""),
        ("(call $exit (i32.const 0)) (i32.const 1)", 0, ""),
        ("unreachable", 134, "wasm trap: wasm `unreachable` instruction executed"),
    ],
)
def test_a_command_runs_and_its_exit_code_is_its_own(component, body, code, words):
    """ok and err of wasi:cli/run, wasi:cli/exit, and a trap, as the wasmtime command exits."""
    done = run(component(body))

    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert words in done.stderr and bool(words) is bool(done.stderr)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--invoke", "add", "40", "2"], "42\n"),
        (["--invoke", "add", "0x10", "-1"], "15\n"),
        (["--invoke", "total", "1", "2"], "3\n"),
        (["--invoke", "my:pkg/sums@0.1.0#total", "1", "2"], "3\n"),
        (["--invoke", "not", "true"], "false\n"),
        (["--invoke", "half", "3"], "0.3\n"),
        (["--invoke", "text", "x"], '"hé"\n'),
    ],
)
def test_functions_are_called_with_simple_types(component, arguments, said):
    """Numbers, truth and text in, and out in the component model's text form."""
    done = run(component(), *arguments)

    assert (done.returncode, done.stdout) == (0, said), done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--invoke", "nope"], "no such function; it exports wasi:cli/run@0.2.3, add"),
        (["--invoke", "add", "1"], "takes 2 arguments, not 1"),
        (["--invoke", "add", "1", "128"], "'128' is no s8, which b is"),
        (["--invoke", "add", "-1", "1"], "'-1' is no u32, which a is"),
        (["--invoke", "not", "yes"], "'yes' is no bool, which x is"),
        (["--invoke", "other:pkg/x#add", "1", "2"], "no such function"),
    ],
)
def test_what_does_not_fit_is_said(component, arguments, words):
    """Usage errors, one line each."""
    done = run(component(), *arguments)

    assert done.returncode == 2 and words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_component_that_is_no_command_says_so(tmp_path):
    """Nothing to run is no success in silence: what could be asked for is named."""
    path = tmp_path / "c.wat"
    path.write_text("(component)")
    done = subprocess.run(
        [sys.executable, "-m", "cpuprobe", "run", str(path)], capture_output=True, text=True
    )

    assert done.returncode == 0
    assert "does not export wasi:cli/run; it exports nothing" in done.stderr


def test_imports_beyond_wasi_are_refused_and_can_be_stubbed(tmp_path):
    """A function of the host that nobody gives: refused by name, or a trap when it is called."""
    path = tmp_path / "c.wat"
    path.write_text(
        """(component
          (import "host:log/out" (instance $log (export "line" (func (param "n" u32)))))
          (alias export $log "line" (func $f))
          (core func $lowered (canon lower (func $f)))
          (core module $m
            (import "h" "line" (func $line (param i32)))
            (func (export "quiet") (result i32) (i32.const 7))
            (func (export "loud") (result i32) (call $line (i32.const 1)) (i32.const 7)))
          (core instance $i (instantiate $m (with "h" (instance (export "line" (func $lowered))))))
          (func (export "quiet") (result u32) (canon lift (core func $i "quiet")))
          (func (export "loud") (result u32) (canon lift (core func $i "loud"))))"""
    )
    import wasmtime

    binary = tmp_path / "c.wasm"
    binary.write_bytes(wasmtime.wat2wasm(path.read_text()))
    refused = run(binary, "--invoke", "quiet")
    assert refused.returncode == 4 and "host:log/out" in refused.stderr
    assert run(path, "--invoke", "quiet").stderr == refused.stderr.replace(str(binary), str(path))

    assert run(binary, "--stub-imports", "--invoke", "quiet").stdout == "7\n"
    loud = run(binary, "--stub-imports", "--invoke", "loud")
    assert loud.returncode == 134 and loud.stdout == ""


def test_shared_memory_is_given(tmp_path):
    """A module that imports a shared memory, as threads do, and one that has its own."""
    body = (
        '(func (export "f") (result i32) (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 5)))'
        " (i32.atomic.rmw.add (i32.const 0) (i32.const 5)))"
    )
    for memory in ('(import "env" "memory" (memory 1 2 shared))', "(memory 1 2 shared)"):
        path = tmp_path / "m.wat"
        path.write_text(f"(module {memory} {body})")

        assert run(path, "--invoke", "f").stdout == "5\n"
