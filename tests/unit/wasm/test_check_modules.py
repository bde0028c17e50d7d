"""`check` of WebAssembly: what the code needs that the installed wasmtime makes of a module."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from tests.archives import zip_of

pytest.importorskip("iced_x86")
pytest.importorskip("wasmtime")

from cpuprobe.check import compiled as check_compiled
from cpuprobe.check.against import within
from cpuprobe.check.compiled import is_module
from cpuprobe.check.judge import Fit
from cpuprobe.cli import run
from cpuprobe.evidence.installed import installed_version
from cpuprobe.facts.profiles import find_profile
from cpuprobe.wasm import compiled
from cpuprobe.wasm.compiled import check_module, target_flags

CORE = """(module
  (func $zeros (export "z") (param i32) (result i32) (i32.ctz (local.get 0)))
  (func $bits (export "b") (param i64) (result i64) (i64.popcnt (local.get 0))))"""
COMPONENT = """(component
  (core module $m (func $zeros (export "z") (param i32) (result i32) (i32.ctz (local.get 0))))
  (core instance $i (instantiate $m))
  (func (export "z") (param "x" u32) (result u32) (canon lift (core func $i "z"))))"""


def checked(text: str, name: str, folder: Path) -> Fit:
    path = folder / "module.wat"
    path.write_text(text)
    return check_module(str(path), within(find_profile(name)))


def functions(fit: Fit, feature: str) -> list[str]:
    assert fit.needs is not None
    return [place.name for place in fit.needs.features[feature].places]


def test_a_module_is_compiled_for_the_target(tmp_path, cpu_with):
    """With its flags; TZCNT counts; the flags that it does not use change nothing."""
    cpu_with("avx2")
    fit = checked(CORE, "x86-64-v3", tmp_path)
    assert fit.needs is not None
    assert fit.needs.engine is not None
    ways = {each.setup: each for each in fit.compiled}

    assert (fit.expectation, fit.error) == ("runs", None)
    assert functions(fit, "bmi") == ["wasm[0]::function[0]::zeros"]
    assert functions(fit, "popcnt") == ["wasm[0]::function[1]::bits"]
    assert {*fit.needs.features} <= find_profile("x86-64-v3").features
    assert {"has_bmi1", "has_popcnt"} <= {*ways["least"].flags} < {*fit.needs.engine.flags}
    assert ways["least"].same
    assert ways["inferred"].error is None


def test_less_is_needed_of_a_lower_target(tmp_path):
    """x86-64-v1 has none of it; what wasmtime infers here is held against the target."""
    fit = checked(CORE, "x86-64-v1", tmp_path)
    assert fit.needs is not None
    inferred = next(each for each in fit.compiled if each.setup == "inferred")

    assert (fit.expectation, fit.needs.features) == ("runs", {})
    assert (inferred.expectation == "refused") == bool(inferred.flags)
    assert (inferred.message is not None) == bool(inferred.flags)


def test_one_of_many_is_compiled_once(tmp_path, cpu_with):
    cpu_with("avx2")
    path = tmp_path / "module.wat"
    path.write_text(CORE)
    fit = check_module(str(path), within(find_profile("x86-64-v3")), once=True)

    assert [each.setup for each in fit.compiled] == ["target"]
    assert functions(fit, "bmi") == ["wasm[0]::function[0]::zeros"]


def test_a_component_is_compiled(tmp_path, cpu_with):
    cpu_with("avx2")
    fit = checked(COMPONENT, "x86-64-v3", tmp_path)

    assert fit.expectation == "runs"
    assert functions(fit, "bmi") == ["wasm[0]::function[0]::zeros"]


def test_what_is_a_module_shows_by_its_content_or_name(tmp_path):
    for name, content, is_one in (
        ("a.wat", CORE.encode(), True),
        ("a.bin", b"\0asm\1\0\0\0", True),
        ("a.txt", CORE.encode(), False),
        ("a", b"\x7fELF", False),
    ):
        (tmp_path / name).write_bytes(content)
        assert is_module(str(tmp_path / name)) is is_one
    assert not is_module(str(tmp_path / "none"))


def test_flags_of_a_target_are_closed():
    """No avx, no avx2, though a policy permits it alone; what no host can load stays off."""
    version = installed_version()
    assert version is not None
    flags = target_flags(version, within(find_profile("x86-64-v2")))

    assert {flag for flag, on in flags.items() if on} == {
        "has_sse3",
        "has_ssse3",
        "has_sse41",
        "has_sse42",
        "has_popcnt",
        *({"has_cmpxchg16b"} & flags.keys()),
    }
    v3 = within(find_profile("x86-64-v3"))
    without = dataclasses.replace(v3, safe=v3.safe - {"avx"})
    flags = target_flags(version, without)
    assert not flags["has_avx2"]
    assert not flags["has_fma"]
    assert flags["has_bmi1"]


# --- what is made to cost ------------------------------------------------------------------------


def number(value: int) -> bytes:
    """Unsigned LEB128."""
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + number(rest) if rest else bytes([low])


def module(bodies: list[bytes]) -> bytes:
    def section(kind: int, content: bytes) -> bytes:
        return bytes([kind]) + number(len(content)) + content

    count = number(len(bodies))
    code = b"".join(number(len(body)) + body for body in bodies)
    return (
        b"\0asm\1\0\0\0"
        + section(1, b"\1\x60\1\x7f\1\x7f")
        + section(3, count + bytes(len(bodies)))
        + section(10, count + code)
    )


def test_what_takes_too_long_is_one_line(tmp_path, monkeypatch):
    """A function of a million additions, and a second of CPU time."""
    monkeypatch.setattr(compiled, "SECONDS", 1)
    path = tmp_path / "slow.wasm"
    path.write_bytes(module([b"\0\x20\0" + b"\x20\0\x6a" * 1_000_000 + b"\x0b"]))
    fit = check_module(str(path), within(find_profile("x86-64-v2")))

    assert fit.expectation == "unreadable"
    assert fit.error is not None
    assert fit.error.startswith("compiling it takes too long")


def test_what_takes_too_much_memory_is_one_line(tmp_path, monkeypatch):
    """A hundred thousand functions."""
    monkeypatch.setattr(compiled, "MEMORY", 300 << 20)
    path = tmp_path / "large.wasm"
    path.write_bytes(module([b"\0\x20\0\x68\x0b"] * 100_000))
    fit = check_module(str(path), within(find_profile("x86-64-v2")))

    assert fit.expectation == "unreadable"
    assert fit.error is not None
    assert "it needs more than 300 MiB" in fit.error


@pytest.mark.parametrize(
    "content", [b"\0asm\1\0\0\0junk", b"\0asm", b"\0asm\x0d\0\1\0\xff", b"(" * 100_000, b"\xff\xfe"]
)
def test_what_is_no_module_is_one_line(content, tmp_path, capfd):
    path = tmp_path / ("a.wasm" if content.startswith(b"\0") else "a.wat")
    path.write_bytes(content)
    code = run(["check", str(path), "--against", "x86-64-v2"])
    said = capfd.readouterr()

    assert code == 4
    assert said.err.count("\n") == 1
    assert len(said.err) < 400
    assert said.out.startswith("UNREADABLE")


def test_without_wasmtime_it_is_said_what_to_install(tmp_path, monkeypatch, capfd):
    for each in (compiled, check_compiled):
        monkeypatch.setattr(each, "installed_version", lambda: None)
    path = tmp_path / "a.wat"
    path.write_text(CORE)

    assert run(["check", str(path), "--against", "x86-64-v2"]) == 4
    said = capfd.readouterr()
    assert said.err.endswith("WebAssembly: not read without wasmtime: pip install wasmtime\n")
    assert said.out.startswith("UNREAD ")
    # Met in a folder it is passed over, and told.
    (tmp_path / "b.wasm").write_bytes(module([b"\0\x20\0\x0b"]))
    (tmp_path / "true").write_bytes(Path("/bin/true").read_bytes())
    assert run(["check", str(tmp_path), "--against", "x86-64-v4"]) == 0
    assert "1 WebAssembly module" in capfd.readouterr().out


def test_the_answer_is_told(tmp_path, capfd):
    """A folder with a module: as text, and as JSON with every way in which it was compiled."""
    (tmp_path / "a.wasm").write_bytes(module([b"\0\x20\0\x69\x0b"]))
    assert run(["check", str(tmp_path), "--against", "x86-64-v2"]) == 0
    text = capfd.readouterr().out
    assert run(["check", str(tmp_path), "--against", "x86-64-v2", "--json"]) == 0
    (file,) = json.loads(capfd.readouterr().out)["files"]

    assert "its code needs popcnt (1 function)" in text
    assert "flags that matter to it: " in text
    assert "it is the same code" in " ".join(text.split())
    assert [each["setup"] for each in file["compiled"]][:2] == ["target", "inferred"]
    assert file["compiled"][0]["features"] == {"popcnt": 1}


def test_a_module_that_was_only_met_may_be_for_another_engine(tmp_path, capfd):
    """In a folder and in an archive what wasmtime refuses is unread, told and counted."""
    content = b"\0asm\1\0\0\0junk"
    (tmp_path / "a.wasm").write_bytes(content)
    (tmp_path / "good.wasm").write_bytes(b"\0asm\1\0\0\0")
    (tmp_path / "b.zip").write_bytes(zip_of({"b.wasm": content}))

    assert run(["check", str(tmp_path), "--against", "x86-64-v2"]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert re.findall(r"^UNREAD .*(?:a|b)\.wasm$", said.out, re.MULTILINE)
    assert said.out.count("wasmtime: failed to parse") == 2
    assert "1 runs" in said.out and "not read: 2 WebAssembly modules" in said.out
    assert run(["check", str(tmp_path), "--against", "x86-64-v2", "--fail-on", "unread"]) == 1
    assert run(["check", str(tmp_path / "a.wasm"), "--against", "x86-64-v2"]) == 4
