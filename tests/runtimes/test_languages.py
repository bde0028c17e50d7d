"""Node, the JVM and Go take the setting, and what they compile leaves the feature alone."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from cpuprobe.assessment import assess
from cpuprobe.emit.knobs import setting
from cpuprobe.evidence.measure import observe
from cpuprobe.facts.features import load_features
from cpuprobe.facts.runtimes import Items, dialects
from tests.runtimes.programs import (
    downfall,
    environment,
    here,
    output,
    program,
    with_settings,
    words,
)

pytestmark = pytest.mark.slow

# --- Node ---

# A WebAssembly module in bytes: (func (export "f") (param f64) (result f64) local.get 0 f64.floor),
# which V8 compiles to ROUNDSD with SSE4.1, to VROUNDSD with AVX and to a call otherwise.
WASM = """
const bytes = new Uint8Array([0,97,115,109,1,0,0,0, 1,6,1,96,1,124,1,124, 3,2,1,0, 7,5,1,1,102,0,0,
                              10,7,1,5,0,32,0,156,11]);
const f = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports.f;
let sum = 0;
for (let i = 0; i < 100000; i++) sum += f(i + 0.5);
console.log(sum);
"""


def v8_features(flags: list[str]) -> dict[str, bool]:
    """What V8 takes the CPU to have, from the line of `--v8-options` that says so."""
    text = output([program("node"), *flags, "--v8-options"])
    found = re.search(r"^SSE3=[01] .*$", text, re.MULTILINE)
    if found is None:
        pytest.skip("this Node does not print what V8 takes the CPU to have")
    return {name: value == "1" for name, value in re.findall(r"(\w+)=([01])", found[0])}


def test_node_leaves_the_downfall_features_alone() -> None:
    """AVX, AVX2 and FMA3 are off, nothing else changed."""
    before, after = v8_features([]), v8_features(words("node", downfall()))

    assert not (after["AVX"] or after["AVX2"] or after["FMA3"])
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"AVX", "AVX2", "FMA3"}
    if not before["AVX"]:
        pytest.skip("V8 uses no AVX on this machine as it is: only that the flags are taken")


def test_node_without_avx2_on_this_machine() -> None:
    """AVX2 goes; AVX stays, unless what builds on AVX2 (AVX-VNNI) has no switch but AVX's."""
    flags = words("node", here("avx2"))
    if not v8_features([])["AVX2"]:
        pytest.skip("V8 uses no AVX2 on this machine as it is")
    after = v8_features(flags)

    assert not after["AVX2"]
    assert after["AVX"] is ("--no-enable-avx" not in flags)
    assert ("--no-enable-avx" in flags) is any(
        assess(observe()).features[name].safe for name in ("avxvnni", "avxvnniint8")
    )


def test_node_knows_every_name_and_still_computes() -> None:
    """Every switch of the table at once: no bad option, all off, the right sum."""
    flags = setting(dialects()["node"], [*load_features()]).split()

    assert len(flags) >= 10
    assert not any(value for name, value in v8_features(flags).items() if name != "ATOM")
    assert output([program("node"), *flags, "-e", WASM]) == "4999950000\n"


def test_node_takes_them_for_programs() -> None:
    """The same flags before a script, where a user puts them."""
    assert output([program("node"), *words("node", downfall()), "-e", WASM]) == "4999950000\n"


# --- the JVM ---


def jvm_flags(flags: list[str]) -> dict[str, str]:
    """The final value of every flag of the JVM, the diagnostic ones too."""
    command = [program("java"), "-XX:+UnlockDiagnosticVMOptions", *flags, "-XX:+PrintFlagsFinal"]
    text = output([*command, "-version"])
    return dict(re.findall(r"^\s*\w+ (\w+)\s+:?= (\S+)", text, re.MULTILINE))


def jvm_features(flags: list[str]) -> set[str]:
    """The features that the JVM says it goes by, in its own log."""
    text = output([program("java"), *flags, "-Xlog:os+cpu", "-version"])
    found = re.search(r"CPU: total .* family \d+ .*", text)
    if found is None:
        pytest.skip("this JVM does not log the CPU's features")
    return set(found[0].split(", "))


def test_jvm_leaves_the_downfall_features_alone() -> None:
    """UseAVX is 0 and FMA is off; what needs no AVX is as it was (HotSpot ties BMI2 to it)."""
    before, after = jvm_flags([]), jvm_flags(words("jvm", downfall()))

    assert (after["UseAVX"], after["UseFMA"]) == ("0", "false")
    for name in ("UseAES", "UsePopCountInstruction", "UseSSE"):
        assert after[name] == before[name], name
    assert not {"avx", "avx2", "avx512f"} & jvm_features(words("jvm", downfall()))


@pytest.mark.parametrize(
    ("without", "gone", "kept"),
    [("avx512", "avx512f", "avx2"), ("avx2", "avx2", "avx"), ("avx", "avx", "sse4.2")],
)
def test_jvm_on_this_machine(without: str, gone: str, kept: str) -> None:
    """The log names the features that are left; the JVM compiles everything under the flags."""
    here(gone)
    if gone not in jvm_features([]):
        pytest.skip(f"the JVM uses no {gone} on this machine as it is")
    flags = words("jvm", here(gone) if without != "avx512" else here("avx512f"))
    after = jvm_features([*flags, "-Xcomp"])

    assert gone not in after
    assert kept in after


def test_jvm_takes_every_name() -> None:
    """Every switch of the table at once: the JVM starts, and each has its value."""
    text = setting(dialects()["jvm"], [*load_features()])
    after = jvm_flags(text.split())

    assert (after["UseAVX"], after["UseSSE"]) == ("0", "2")
    switched = re.findall(r"-XX:-(\w+)", text)
    assert len(switched) >= 9
    assert {name for name in switched if after[name] != "false"} == set()


def test_jvm_takes_them_from_the_environment() -> None:
    """As JAVA_TOOL_OPTIONS, which reaches a JVM that somebody else starts."""
    env = with_settings([f"JAVA_TOOL_OPTIONS={' '.join(words('jvm', downfall()))}"])
    text = output([program("java"), "-XX:+PrintFlagsFinal", "-version"], env=env)

    assert re.search(r"UseAVX\s+= 0 ", text)


# --- Go ---

# internal/cpu cannot be imported by a program; its variable can be named to the linker. The
# structure is taken from the installed source, since its fields differ between releases.
GO = """package main

import (
	"fmt"
	"reflect"
	_ "unsafe"
)

type CacheLinePad struct{{ _ [64]byte }}

//go:linkname x86 internal/cpu.X86
var x86 {structure}

func main() {{
	value := reflect.ValueOf(x86)
	for i := 0; i < value.NumField(); i++ {{
		if field := value.Field(i); field.Kind() == reflect.Bool && field.Bool() {{
			fmt.Println(value.Type().Field(i).Name)
		}}
	}}
}}
"""


@pytest.fixture(scope="module")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Go program that prints what Go's runtime takes the CPU to have."""
    go = program("go", "/usr/lib/go-*/bin/go", "/usr/local/go/bin/go")
    folder = tmp_path_factory.mktemp("go")
    root = output([go, "env", "GOROOT"]).strip()
    version = re.search(r"go1\.(\d+)", output([go, "version"]))
    source = Path(root, "src/internal/cpu/cpu.go").read_text()
    found = re.search(r"^var X86 (struct \{.*?^\})", source, re.MULTILINE | re.DOTALL)
    assert found is not None and version is not None
    (folder / "main.go").write_text(GO.format(structure=found[1]))
    (folder / "none.s").write_text("")  # lets the variable have no value of its own
    free = ["-ldflags=-checklinkname=0"] if int(version[1]) >= 23 else []
    result = subprocess.run(
        [go, "build", *free, "-o", "program", "main.go"],
        cwd=folder,
        env=with_settings(
            [f"GOCACHE={folder}/cache", "GOFLAGS=-mod=mod", "GOTOOLCHAIN=local", "GO111MODULE=off"]
        ),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return folder / "program"


def go_features(go_program: Path, env: dict[str, str] | None = None) -> tuple[set[str], str]:
    """The features Go goes by, and what it complains of."""
    result = subprocess.run([go_program], env=env, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split()), result.stderr


def test_go_leaves_the_downfall_features_alone(go_program: Path) -> None:
    """AVX, AVX2 and FMA go, nothing else, and Go knows each name."""
    before, _ = go_features(go_program)
    after, complaints = go_features(go_program, environment("godebug", downfall()))

    if "HasAVX2" not in before:
        pytest.skip("Go uses no AVX2 on this machine as it is")
    assert before - after == {"HasAVX", "HasAVX2", "HasFMA"}
    assert complaints == ""


def test_go_without_avx2_on_this_machine(go_program: Path) -> None:
    """AVX2 goes and AVX stays; names that this release lacks are only remarked upon."""
    after, complaints = go_features(go_program, environment("godebug", here("avx2")))

    assert "HasAVX" in after
    assert not {"HasAVX2", "HasAVX512F"} & after
    remarks = set(complaints.splitlines())
    assert all(line.startswith('GODEBUG: unknown cpu feature "avx512') for line in remarks)


def test_go_takes_every_name(go_program: Path) -> None:
    """Every switch of the table at once: what is left is what the table says has none."""
    go = dialects()["godebug"]
    assert isinstance(go, Items)
    text = setting(go, [*load_features()])
    after, complaints = go_features(go_program, with_settings([text]))

    stays = {f"Has{name.upper()}" for name in go.stays}
    stays |= {"HasAVX512GFNI", "HasAVX512VAES", "HasVPCLMULQDQ"}  # second names of such
    assert after <= {"HasERMS", "HasFSRM", "HasOSXSAVE"} | stays
    known = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "vpclmulqdq", "sha"}
    unknown = set(re.findall(r'unknown cpu feature "(\w+)"', complaints))
    assert unknown <= known, "a name that even old releases have is misspelt"
