"""Hostile captures: whatever the bytes, an observation or one line, soon and in bounded memory."""

from __future__ import annotations

import importlib.util
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.fuzz.inputs import check, seeds

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines import parse_capture, read_capture

ROOT = Path(__file__).parents[3]
SEEDS = seeds()

relaxed = examples(150, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", SEEDS)
def test_seeds_are_captures(name):
    """The mutations below start from something that is read."""
    assert check(SEEDS[name])


@relaxed
@given(st.binary(max_size=2000))
def test_arbitrary_bytes(content):
    """Bytes of no format."""
    check(content)


@relaxed
@given(st.text(max_size=500), st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-16-be"]))
def test_arbitrary_text(text, codec):
    """Text of no format, in any encoding."""
    check(text.encode(codec, "surrogatepass"))


@pytest.mark.parametrize("name", SEEDS)
@settings(relaxed, max_examples=25)
@given(data=st.data())
def test_mutated_captures(name, data):
    """Captures with bytes changed, pieces cut out, doubled, or exchanged with another capture."""
    content = bytearray(SEEDS[name])
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, max(len(content) - 1, 0)))
        end = min(len(content), start + data.draw(st.integers(0, 200)))
        other = SEEDS[data.draw(st.sampled_from(sorted(SEEDS)))]
        content[start:end] = data.draw(
            st.one_of(
                st.binary(max_size=8),
                st.just(b""),
                st.just(bytes(content[start:end]) * 2),
                st.just(other[start:end]),
            )
        )
    check(bytes(content))


LINES = st.sampled_from(
    [
        "CPU 0:",
        "CPU:",
        "CPU 1:",
        "CPU#000 AffMask: 0x1",
        "CPUID Registers (CPU #1):",
        "------[ Logical CPU #0 ]------",
        "_________________ Logical CPU #0 _________________",
        "0x00000000 0x00: eax=0x00000001 ebx=0x68747541 ecx=0x444d4163 edx=0x69746e65",
        "0x00000001 0x00: eax=0x00000612 ebx=0x00000000 ecx=0x00000000 edx=0x0081f9ff",
        "CPUID 00000000: 00000001-68747541-444D4163-69746E65",
        "CPUID 0000000D: 00000100-00000240-00000000-00000000",
        "CPUID 00000007: 00000000-00000020-00000000-00000000 [SL 00]",
        "basic_cpuid[0]=00000007 68747541 444d4163 69746e65",
        "basic_cpuid[7]=00000000 00000020 00000000 00000000",
        "processor : 0",
        "processor : 3",
        "vendor_id : GenuineIntel",
        "model : 94",
        "stepping : unknown",
        "flags : fpu sse2 avx lm",
        "Features : fp asimd",
        "Architecture: x86_64",
        "Flags: fpu sse avx2",
        "On-line CPU(s) list: 0-3",
        "Vulnerability Mds: Mitigation; Clear CPU buffers",
        "gather_data_sampling: Vulnerable",
        "Linux version 6.1.0 (gcc)",
        "Kernel command line: clearcpuid=avx noxsave",
        "```",
        '{"schema": "cpuprobe.report/1", "observation":',
    ]
)


@relaxed
@given(st.lists(LINES, max_size=12))
def test_lines_of_all_formats_mixed(lines):
    """Lines that each reader knows, in any order."""
    check("\n".join(lines).encode())


# --- size -----------------------------------------------------------------------------------------

SIZE = 20 << 20
GENERATORS = {
    "zeros": "b'\\0' * SIZE",
    "one endless line": "b'A' * SIZE",
    "ten million lines": "b'a\\n' * (SIZE // 2)",
    "lines like fields": "b'a:\\n' * (SIZE // 3)",
    "open braces": "b'{' * SIZE",
    "open brackets": "b'x [' + b'[' * SIZE",
    "report starts": "b'x' + b'{\"schema\":' * (SIZE // 10)",
    "report starts that go on": "b'x' + b'{\"schema\":[[],[],[]],' * (SIZE // 21)",
    "quote marks": "b'> ' * (SIZE // 2)",
    "tags": "b'<a>xy' * (SIZE // 5) + b'</p>'",
    "spaces in a leaf": "(b'CPUID' + b' ' * 60000 + b'\\n') * (SIZE // 60006)",
    "spaces in a field": "(b'flags :' + b' ' * 60000 + b'\\n') * (SIZE // 60008)",
    "random": "__import__('random').Random(1).randbytes(SIZE)",
    "leaves of one CPU": (
        "b''.join(b'CPUID %08X: %08X-756E6547-6C65746E-49656E69\\n' % (i + 1, i)"
        " for i in range(SIZE // 51))"
    ),
    "different CPUs": (
        "b''.join(b'CPUID %08X: %08X-756E6547-6C65746E-49656E69\\n' % (i % 60, i)"
        " for i in range(SIZE // 51))"
    ),
    "equal CPUs": "b'CPUID 00000000: 00000000-00000000-00000000-00000000\\n' * (SIZE // 52)",
    "different processors": (
        "b''.join(b'processor : %d\\nflags : fpu sse f%d\\n' % (i, i) for i in range(SIZE // 40))"
    ),
    "utf-16": "b'\\xff\\xfe' + b'x\\0\\n\\0' * (SIZE // 4)",
    "JSON leaves": (
        'b\'{"schema":"cpuprobe.report/1","observation":{"source":"p","executed":false,'
        '"groups":[{"cpus":[0],"cpuid":[\' + b\'[0,0,0,0,0,0],\' * (8000000 // 14)'
    ),
    "JSON groups": (
        'b\'{"schema":"cpuprobe.report/1","observation":{"source":"p","executed":false,'
        '"groups":[\' + b\'{"cpus":[]},\' * (8000000 // 12) + b\'{"cpus":[]}]}}\''
    ),
}
PROGRAM = """
import sys, time
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines import parse_capture
import cpuprobe.facts.features
cpuprobe.facts.features.load_features()
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) << 10
SIZE = int(sys.argv[1])
content = {generator}
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before, start = peak(), time.process_time()
try:
    parse_capture(content)
except CaptureError:
    pass
print(time.process_time() - start, peak() - before, len(content))
"""


# Within the size of a paste, where every cleaning step and every format looks.
PASTE = (4 << 20) - 1
PASTES = {
    "bars and blanks": "(b'|' + b' ' * 60000 + b'\\n') * (SIZE // 60002)",
    "strings": "b'a\\\\n\\\\\"' * (SIZE // 6)",
    "tags": "b'<a>xy' * (SIZE // 5) + b'</p>'",
    "cpu tags": "b'<cpu>' * (SIZE // 5)",
    "lscpu without end": (
        "b'Architecture: x86_64\\nFlags: fpu vme lm\\nModel: 3\\n' * (SIZE // 46)"
    ),
    "labels of a node": "b'feature.node.kubernetes.io/cpu-cpuid.AVX=true\\n' * (SIZE // 46)",
    "lists": "b'fpu vme\\n' * (SIZE // 8)",
    "line numbers": "b'1\\t' * (SIZE // 2)",
    "NumPy": "b'simd_extensions\\n' * (SIZE // 16)",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PASTES)
def test_a_hostile_paste_is_bounded(name):
    """4 MiB of what a format or a wrapper looks for, again and again: 20 s and 400 MB at most."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{generator}", PASTES[name]), str(PASTE)],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)),
    )

    assert done.returncode == 0, done.stderr
    seconds, memory, _ = (float(each) for each in done.stdout.split())
    assert seconds < 20
    assert memory < 400e6


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATORS)
def test_time_and_memory_are_bounded(name):
    """20 MiB of anything are read or refused within seconds, in less than six times the memory.

    JSON is decoded only up to 8 MiB, whose objects take up to 240 MiB.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{generator}", GENERATORS[name]), str(SIZE)],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)),
    )

    assert done.returncode == 0, done.stderr
    seconds, memory, size = (float(each) for each in done.stdout.split())
    assert seconds < 20
    assert memory < (300 << 20 if name.startswith("JSON") else 5 * size)


@pytest.mark.slow
def test_a_gigabyte_is_refused_after_64_mib(tmp_path):
    """No more of a file is read than the largest capture may have."""
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 30)

    with pytest.raises(CaptureError, match=r"huge: larger than 64 MiB"):
        read_capture(path)


# --- coverage-guided ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed (pip install atheris; `make fuzz` wants it too)",
)
def test_short_fuzzing(tmp_path):
    """A short deterministic run of the fuzzer finds nothing; `make fuzz` runs for longer."""
    paths = [str(ROOT / "probe"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.fuzz_captures", "-runs=3000", "-seed=1"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert "Done 3000 runs" in done.stderr


def test_a_text_with_the_word_of_tar_in_its_place_is_a_text():
    """Only with the NUL behind it, which no text has, do the bytes make an archive."""
    text = (
        b"Architecture: x86_64\nFlags: fpu sse sse2 lm syscall nx\n".ljust(257, b" ") + b"ustar\n"
    )

    assert parse_capture(text).source == "lscpu"
