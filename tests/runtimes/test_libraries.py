"""glibc, OpenSSL, NumPy, OpenBLAS and oneDNN read the setting, and then leave the feature alone."""

from __future__ import annotations

import ctypes.util
import glob
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cpuprobe.assessment import assess
from cpuprobe.emit.knobs import setting
from cpuprobe.evidence.measure import observe
from cpuprobe.facts.features import load_features
from cpuprobe.facts.runtimes import Items, dialects, load_runtimes
from tests.runtimes.programs import downfall, environment, here, output, program, with_settings

pytestmark = pytest.mark.slow

# --- glibc ---

LOADER = "/lib64/ld-linux-x86-64.so.2"
# sysdeps/x86/bits/platform/x86.h numbers the arrays of CPUID leaves that the diagnostics print.
LEAVES = {(0x1, 0): 0, (0x7, 0): 1, (0x80000001, 0): 2, (0xD, 1): 3, (0x7, 1): 6}
REGISTERS = ("eax", "ebx", "ecx", "edx")


@pytest.fixture
def loader() -> str:
    """glibc's dynamic loader, which tells what glibc takes the CPU to have."""
    if not os.path.exists(LOADER):
        pytest.skip("no glibc here")
    result = subprocess.run([LOADER, "--list-diagnostics"], capture_output=True)
    if result.returncode != 0:
        pytest.skip("this glibc (before 2.33) prints no diagnostics")
    return LOADER


def active(loader: str, env: dict[str, str] | None = None) -> set[str]:
    """The features that glibc would use."""
    text = output([loader, "--list-diagnostics"], env=env)
    found = re.findall(r"features\[(\w+)\]\.active\[(\w+)\]=(\w+)", text)
    words = {(int(leaf, 16), int(register, 16)): int(value, 16) for leaf, register, value in found}
    assert words
    return {
        name
        for name, feature in load_features().items()
        if (leaf := LEAVES.get((feature.cpuid.leaf, feature.cpuid.subleaf))) is not None
        and words.get((leaf, REGISTERS.index(feature.cpuid.register)), 0) >> feature.cpuid.bit & 1
    }


def test_glibc_leaves_the_downfall_features_alone(loader: str) -> None:
    """AVX, AVX2 and FMA go, and nothing else does."""
    before = active(loader)
    after = active(loader, environment("glibc", downfall()))

    if "avx2" not in before:
        pytest.skip("glibc uses no AVX2 on this machine as it is")
    assert before - after == before & {"avx", "avx2", "fma"}


def test_every_name_that_glibc_is_told_counts(loader: str) -> None:
    """Each feature alone: exactly its bit goes."""
    before, tried = active(loader), 0
    glibc = dialects()["glibc"]
    assert isinstance(glibc, Items)
    for name in glibc.names:
        if name in before:
            text = setting(glibc, [name])
            assert before - active(loader, with_settings([text])) == {name}
            tried += 1
    assert tried >= 2


def test_glibc_searches_lower_folders(loader: str) -> None:
    """Without AVX2 the glibc-hwcaps folders of x86-64-v3 and v4 are no longer searched."""

    def searched(env: dict[str, str] | None = None) -> set[str]:
        text = output([loader, "--help"], env=env)
        return set(re.findall(r"(x86-64-v\d) \(supported, searched\)", text))

    if "x86-64-v3" not in searched():
        pytest.skip("this machine is below x86-64-v3")
    assert searched(environment("glibc", here("avx2"))) == {"x86-64-v2"}


def test_programs_start_under_the_tunable(loader: str) -> None:
    """An ordinary program runs with everything off that has a name."""
    text = setting(dialects()["glibc"], [*load_features()])
    env = with_settings([text])

    assert output(["/bin/echo", "alive"], env=env) == "alive\n"


# --- OpenSSL ---


def capabilities(env: dict[str, str] | None = None) -> list[int]:
    """The capability vectors as OpenSSL tells them, the environment's changes made."""
    openssl = program("openssl")
    text = output([openssl, "info", "-cpusettings"], env=env)
    found = re.search(r"OPENSSL_ia32cap=([0-9a-fx:]+)", text)
    if found is None:
        pytest.skip(f"this OpenSSL tells no capabilities: {text.strip()}")
    return [int(word, 16) for word in found[1].split(":")]


def test_openssl_clears_exactly_the_bits() -> None:
    """OPENSSL_ia32cap(3): FMA, AVX, F16C are bits 44, 60, 61 of LV0 and AVX2 is bit 5 of LV1."""
    before = capabilities()
    after = capabilities(environment("openssl", downfall()))

    assert after[0] == before[0] & ~(1 << 44 | 1 << 60 | 1 << 61)
    assert after[1] == before[1] & ~(1 << 5)
    assert after[2:] == before[2:]


def test_openssl_without_avx2_on_this_machine() -> None:
    """This machine's own setting: AVX2 and AVX512F (bit 16 of LV1) off, AVX and AES stay."""
    flags = here("avx2")
    before, after = capabilities(), capabilities(environment("openssl", flags))

    assert before[1] >> 5 & 1 == 1
    assert after[1] >> 5 & 1 == after[1] >> 16 & 1 == 0
    assert after[0] == before[0]


def test_openssl_still_computes() -> None:
    """SHA-256 of nothing is what FIPS 180-4 says with every feature off that has a bit."""
    beyond = [name for name in load_features() if name not in ("fxsr", "sse", "sse2", "mmx", "x87")]
    env = with_settings([setting(dialects()["openssl"], beyond)])
    text = output([program("openssl"), "dgst", "-sha256", "/dev/null"], env=env)

    assert "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" in text


# --- NumPy and the OpenBLAS inside ---

NUMPY = """
import json, numpy
from numpy._core import _multiarray_umath as core
a = numpy.arange(1000, dtype="float32")
assert (a @ a) > 0 and float(numpy.sort(a[::-1])[0]) == 0.0
print(json.dumps([numpy.__version__, core.__cpu_baseline__, core.__cpu_dispatch__,
                  [name for name, has in core.__cpu_features__.items() if has]]))
"""


@pytest.fixture(scope="session", params=["numpy==2.2.6", "numpy>=2.4"])
def numpy_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NumPy before and after 2.4, which renamed everything, each in a folder of its own."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("no pip here")
    folder = tmp_path_factory.mktemp("numpy")
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--only-binary=:all:", "--no-deps", "--target", str(folder), request.param),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if result.returncode != 0:
        pytest.skip(f"{request.param} cannot be installed here: {result.stderr.strip()[-200:]}")
    return folder


def numpy_state(folder: Path, env: dict[str, str] | None = None) -> tuple[set[str], set[str]]:
    """What this NumPy was built to dispatch to, and what of it is on."""
    env = {**(env or os.environ), "PYTHONPATH": str(folder)}
    text = output([sys.executable, "-W", "error::RuntimeWarning", "-c", NUMPY], env=env)
    _, _, dispatch, enabled = json.loads(text)
    return set(dispatch), set(dispatch) & set(enabled)


def test_numpy_leaves_the_downfall_features_alone(numpy_folder: Path) -> None:
    """Nothing that needs AVX, F16C, FMA or AVX2 is on; what needs SSE4.2 only stays."""
    _, before = numpy_state(numpy_folder)
    _, after = numpy_state(numpy_folder, environment("numpy", downfall()))

    gone = {"AVX", "F16C", "FMA3", "AVX2", "X86_V3"}
    if not before & gone:
        pytest.skip("NumPy uses no AVX on this machine as it is")
    assert before - after == before & gone


def test_numpy_without_avx2_on_this_machine(numpy_folder: Path) -> None:
    """This machine's own setting: neither AVX2 nor anything of AVX-512 is on."""
    _, after = numpy_state(numpy_folder, environment("numpy", here("avx2")))

    assert not {name for name in after if "AVX2" in name or "AVX512" in name or "X86_V" in name}


def test_numpy_starts_with_everything_off(numpy_folder: Path) -> None:
    """No name of the table is one that NumPy refuses to switch off, which would end the import."""
    text = setting(dialects()["numpy"], [*load_features()])
    _, after = numpy_state(numpy_folder, with_settings([text]))

    assert after == set()


CORE_NAME = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
function = getattr(library, "scipy_openblas_get_corename64_")
function.restype = ctypes.c_char_p
print(function().decode())
"""


@pytest.mark.parametrize("avoided", ["avx512f", "avx2", "avx", "sse4.2"])
def test_openblas_takes_the_kernels_it_is_told(numpy_folder: Path, avoided: str) -> None:
    """The OpenBLAS in NumPy's wheel reports the core that the setting names."""
    found = glob.glob(str(numpy_folder / "numpy.libs" / "libscipy_openblas64_*"))
    if not found:
        pytest.skip("this wheel has no OpenBLAS of its own")
    if not assess(observe(), "50").features[avoided].safe:
        pytest.skip(f"{avoided} is not safe here")
    knob = next(each for each in load_runtimes() if each.id == "openblas").settings[0]
    table = load_features()
    text = setting(knob, {avoided, *table.dependents(avoided)})
    name = output([sys.executable, "-c", CORE_NAME, found[0]], env=with_settings([text])).strip()

    # driver/others/dynamic.c: 64-bit builds have one set of kernels under both names.
    same = {"Katmai": "Prescott"}
    assert same.get(name, name) == text.partition("=")[2]


# --- oneDNN ---

EFFECTIVE_ISA = """
import ctypes, sys
print(ctypes.CDLL(sys.argv[1]).dnnl_get_effective_cpu_isa())
"""
# include/oneapi/dnnl/dnnl_types.h (dnnl_config.h in later releases), dnnl_cpu_isa_t
ISA = {0x0: "", 0x1: "SSE41", 0x3: "AVX", 0x7: "AVX2", 0x407: "AVX2_VNNI", 0x27: "AVX512_CORE"}


def effective_isa(env: dict[str, str] | None = None) -> int:
    """The instruction set that oneDNN would use."""
    library = ctypes.util.find_library("dnnl")
    if library is None:
        pytest.skip("no libdnnl here (Debian: libdnnl2 or libdnnl3)")
    return int(output([sys.executable, "-c", EFFECTIVE_ISA, library], env=env))


@pytest.mark.parametrize(
    ("without", "ceiling"), [("avx512f", "AVX2"), ("avx2", "AVX"), ("fma", "AVX"), ("avx", "SSE41")]
)
def test_onednn_stays_under_its_ceiling(without: str, ceiling: str) -> None:
    """What oneDNN would use on this machine after something was given up."""
    effective_isa()
    found = effective_isa(environment("onednn", here(without)))

    if ceiling == "AVX2" and assess(observe(), "50").features["avxvnni"].safe:
        ceiling = "AVX2_VNNI"
    assert ISA[found] == ceiling


def test_onednn_on_the_downfall_machine() -> None:
    """Nothing but SSE4.1 is left."""
    assert ISA[effective_isa(environment("onednn", downfall()))] == "SSE41"
