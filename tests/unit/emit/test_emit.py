"""The dialects: each is given to the program it is written for, where that can be had here."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fakes import V3, gds_machine, group, observation

from cpuprobe.assessment import assess
from cpuprobe.emit import FORMATS, FlagSet, choose, wasmtime
from cpuprobe.evidence.installed import installed_version, package_folder
from cpuprobe.evidence.measure import observe
from cpuprobe.facts.features import load_features


@pytest.fixture(scope="module")
def here() -> FlagSet:
    """The flags of this machine for the installed wasmtime."""
    return choose([assess(observe())])


@pytest.fixture(scope="module")
def gds() -> FlagSet:
    return choose([assess(gds_machine(), "50")])


def values_in(text: str) -> dict[str, bool]:
    """Every flag that a text gives a value, in whatever dialect."""
    found = re.findall(r'(has_\w+)"?[",=: ]+(true|false)', text)
    return {flag: value == "true" for flag, value in found}


@pytest.mark.parametrize("dialect", ["text", "json", "rust", "c", "python", "cli"])
def test_every_dialect_says_the_same(gds, dialect):
    """All dialects carry every flag with the value that was chosen."""
    assert values_in(FORMATS[dialect](gds)) == gds.values


def test_clif_is_a_target_line(gds):
    """Cranelift's test files take settings by name, `=false` to switch off."""
    words = FORMATS["clif"](gds).split()

    assert words[:2] == ["target", "x86_64"]
    assert {word.partition("=")[0]: "=false" not in word for word in words[2:]} == gds.values


@pytest.mark.parametrize("dialect", sorted(wasmtime.FORMATS))
def test_only_off_switches_nothing_on(dialect):
    """--only-off writes the false flags and leaves the target alone."""
    flags = choose([assess(gds_machine(), "50")], only_off=True)
    text = FORMATS[dialect](flags)

    assert "unknown-linux" not in text
    assert not re.search(r"\btrue\b", text.replace("set to true", ""))
    for flag, value in flags.values.items():
        assert (re.search(rf"\b{flag}\b", text) is not None) is (not value), flag


def test_reasons_stand_beside_flags_that_are_off(gds):
    """A reader of the Rust block sees why a flag is off."""
    assert '("has_avx", "false");  // avx is withheld' in FORMATS["rust"](gds)
    assert '("has_bmi1", "false");  // wasmtime\'s own detector refuses' in FORMATS["rust"](gds)


def test_old_command_lines_have_another_option():
    """wasmtime 13 and older spell it --cranelift-set."""
    machine = observation(group(V3), listed=V3)
    old, new = (FORMATS["cli"](choose([assess(machine, version)])) for version in ("13", "14"))

    assert "--cranelift-set has_avx=true" in old
    assert "-C cranelift-has_avx=true" in new


def test_python_runs(here):
    """The Python block makes an engine that compiles and runs SIMD with exactly these flags."""
    program = FORMATS["python"](here) + (
        "store = wasmtime.Store(engine)\n"
        'module = wasmtime.Module(engine, """(module (func (export "f") (result i32)\n'
        "    (i32x4.extract_lane 3 (i32x4.mul (v128.const i32x4 1 2 3 4)"
        ' (v128.const i32x4 5 6 7 8)))))""")\n'
        'print(wasmtime.Instance(store, module, []).exports(store)["f"](store))\n'
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120)

    assert result.stderr == b""
    assert result.stdout == b"32\n"


def test_the_compiled_artifact_has_these_flags(here):
    """wasmtime writes the flags it used into its artifact: they are the emitted ones."""
    from cpuprobe.code.engine_section import read_engine_section

    program = FORMATS["python"](here) + (
        'import sys\nsys.stdout.buffer.write(wasmtime.Module(engine, "(module)").serialize())\n'
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120)
    section = read_engine_section(result.stdout)

    used = {flag: value for flag, value in section.isa_flags.items() if flag in here.values}
    assert used == here.values
    assert section.version.startswith(str(installed_version()).partition(".")[0])


# The wheel carries the library and no headers: these are wasmtime's own C declarations of what the
# block calls (crates/c-api/include/wasmtime/config.h, engine.h), enough to type-check and link it.
C_HEADER = """
typedef struct wasm_config_t wasm_config_t;
typedef struct wasm_engine_t wasm_engine_t;
typedef struct wasmtime_error wasmtime_error_t;
wasm_config_t *wasm_config_new(void);
wasm_engine_t *wasm_engine_new_with_config(wasm_config_t *);
void wasm_engine_delete(wasm_engine_t *);
wasmtime_error_t *wasmtime_config_target_set(wasm_config_t *, const char *);
void wasmtime_config_cranelift_flag_set(wasm_config_t *, const char *, const char *);
"""

C_PROGRAM = """
#include <stdio.h>
int
main(void)
{
    wasm_config_t *config = wasm_config_new();
    wasm_engine_t *engine;
    if (set_safe_flags(config) != NULL)
        return 1;
    engine = wasm_engine_new_with_config(config);
    if (engine == NULL)
        return 2;
    wasm_engine_delete(engine);
    puts("engine");
    return 0;
}
"""


@pytest.mark.parametrize("only_off", [False, True])
def test_c_compiles_links_and_runs(tmp_path: Path, only_off):
    """The C block is clean under -Wall -Wextra -Werror and makes an engine with the library."""
    folder = package_folder()
    assert folder is not None
    library = next(Path(folder, "wasmtime").glob("linux-*/_libwasmtime.so"))
    (tmp_path / "wasmtime.h").write_text(C_HEADER)
    flags = choose([assess(observe())], only_off=only_off)
    (tmp_path / "main.c").write_text(FORMATS["c"](flags) + C_PROGRAM)
    subprocess.run(
        [
            *("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", str(tmp_path)),
            *("-o", str(tmp_path / "main"), str(tmp_path / "main.c"), str(library)),
            f"-Wl,-rpath,{library.parent}",
        ],
        check=True,
        timeout=60,
    )

    assert subprocess.run([tmp_path / "main"], capture_output=True, timeout=60).stdout == (
        b"engine\n"
    )


# wasmtime's crate cannot be had without a crates.io client; this is the part of its public
# signatures that the block uses (docs.rs/wasmtime, struct Config), so that rustc can type-check it.
RUST_CRATE = """
pub struct Config;
pub type Result<T> = std::result::Result<T, String>;
impl Config {
    pub fn new() -> Self { Config }
    pub fn target(&mut self, _target: &str) -> Result<&mut Self> { Ok(self) }
    /// # Safety
    /// A flag is a promise about the host.
    pub unsafe fn cranelift_flag_set(&mut self, _name: &str, _value: &str) -> &mut Self { self }
}
"""


@pytest.mark.parametrize("only_off", [False, True])
def test_rust_type_checks(tmp_path: Path, only_off):
    """rustc accepts the Rust block, warnings denied, against the crate's signatures."""
    rustc = shutil.which("rustc")
    if rustc is None:
        pytest.skip("no rustc here")
    flags = choose([assess(gds_machine(), "50")], only_off=only_off)
    crate = tmp_path / "wasmtime.rs"
    crate.write_text(RUST_CRATE)
    (tmp_path / "lib.rs").write_text("#![deny(warnings)]\n" + FORMATS["rust"](flags))
    for arguments in (
        ["--crate-type", "rlib", "--crate-name", "wasmtime", str(crate)],
        ["--crate-type", "rlib", "--extern", "wasmtime=libwasmtime.rlib", str(tmp_path / "lib.rs")],
    ):
        subprocess.run([rustc, "--edition", "2021", *arguments], cwd=tmp_path, check=True)


def test_json_is_an_object_of_booleans(gds):
    """--format json: flag name to boolean, every flag that version knows."""
    assert json.loads(FORMATS["json"](gds)) == gds.values
    assert all(isinstance(value, bool) for value in gds.values.values())


def test_giving_up_a_feature_gives_up_its_dependents():
    """Without sse4.1 nothing that builds on it stays on."""
    flags = choose([assess(observation(group(V3), listed=V3), "50")], without=["sse4.1"])
    table = load_features()
    on = {table.by_cranelift[flag].name for flag, value in flags.values.items() if value}

    assert on == {"sse3", "ssse3", "cx16", "popcnt", "bmi", "bmi2", "lzcnt"}


def test_python_before_45_goes_through_the_c_api():
    """Config has methods since wasmtime-py 45; before 13 there was no call at all."""
    from cpuprobe.errors import UsageError

    machine = observation(group(V3), listed=V3)
    old, new = (FORMATS["python"](choose([assess(machine, version)])) for version in ("44", "45"))

    assert "config.cranelift_flag_set" not in old
    assert values_in(old.replace('"), text("', '", "')) == choose([assess(machine, "44")]).values
    compile(old, "old", "exec")
    assert 'config.cranelift_flag_set("has_avx", "true")' in new
    with pytest.raises(UsageError, match="13 is the first"):
        FORMATS["python"](choose([assess(machine, "12")]))


def test_the_c_api_way_makes_an_engine_too(here):
    """What is written for wasmtime 44 runs here as well: the calls below are the same."""
    import msgspec

    old = msgspec.structs.replace(here, wasmtime="44")
    program = FORMATS["python"](old) + "print(type(engine).__name__)\n"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120)

    assert result.stderr == b""
    assert result.stdout == b"Engine\n"
