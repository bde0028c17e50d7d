"""Runs the C test program in every build, and examines the static executable."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.examples import ALL
from tests.required import required

Build = Callable[[str, str], Path]


def error_root() -> int:
    """enum error of core.h, as the extension tells it."""
    number: int = pytest.importorskip("cpuprobe._native").lib.ERROR_ROOT
    return number


# More than SSE2, of what iced-x86 may report for code compiled for plain x86-64. CET_IBT is
# ENDBR64, a no-operation on older CPUs (SDM vol. 2A, "ENDBR64").
BASELINE = {
    "INTEL8086",
    "INTEL186",
    "INTEL286",
    "INTEL386",
    "INTEL486",
    "X64",
    "CPUID",
    "CMOV",
    "FPU",
    "SSE",
    "SSE2",
    "SYSCALL",
    "MULTIBYTENOP",
    "PAUSE",
    "CET_IBT",
}
# The code of entry.c that loads and stores every register class, and the guarded instructions.
STUB_SYMBOLS = {
    "enter_candidate",
    "state_code_begin",
    "candidate_return",
    "state_code_end",
    "candidate_recovery",
    "guarded_cpuid",
    "guarded_xgetbv",
}


def run(command: list[Any], timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Runs a command. On a timeout it is killed outright: a test may have blocked SIGTERM."""
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=timeout
    )


def assert_passed(done: subprocess.CompletedProcess[str]) -> None:
    """All tests of the C program ran to the end, and none failed."""
    summary = re.search(r"^(\d+) passed, (\d+) failed$", done.stdout, re.MULTILINE)

    assert summary is not None, done.stdout + done.stderr
    assert summary[2] == "0", "\n".join(re.findall(r"^(?:#|not ok).*", done.stdout, re.MULTILINE))
    assert int(summary[1]) > 0
    assert done.returncode == 0


BUILDS = [("gcc", "plain"), ("clang", "sanitized")]


@pytest.mark.parametrize(
    ("compiler", "variant"), [*BUILDS, ("gcc", "sanitized"), ("clang", "plain")] if ALL else BUILDS
)
def test_core(core_program: Build, compiler: str, variant: str) -> None:
    """Every C test passes, compiled without warnings, with and without sanitizers."""
    required(compiler)

    done = run([core_program(compiler, variant)])

    assert_passed(done)
    assert done.stderr == ""


# Without XSAVE, with AVX alone, AMD's, and all that the emulator has; the others lie between.
MODELS = ["qemu64", "SandyBridge", "EPYC", "max"]


@pytest.mark.lab
@pytest.mark.parametrize("model", MODELS + ["Nehalem", "Haswell", "Skylake-Client"] * ALL)
def test_core_emulated(core_program: Build, model: str) -> None:
    """Every C test that qemu-user can answer passes on CPU models with and without AVX."""
    qemu = required("qemu-x86_64")

    assert_passed(run([qemu, "-cpu", model, core_program("gcc", "static"), "--emulated"]))


# --- hostile and unusual kernel files -------------------------------------------------------


def observe(core_program: Build, root: Path | str, cpus: str = "-") -> dict[str, Any]:
    """The observation below root, written by the sanitized test program."""
    done = run([core_program("gcc", "sanitized"), "observe", root, cpus], timeout=60)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "cpuprobe.report/1"
    observation: dict[str, Any] = document["observation"]
    return observation


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A fake root with an empty proc directory."""
    (tmp_path / "proc").mkdir()
    return tmp_path


def test_own_files(core_program: Build) -> None:
    """Without a root, the kernel's own files are read."""
    observation = observe(core_program, "")

    release = Path("/proc/sys/kernel/osrelease").read_text().strip()
    assert release == observation["kernel"]["release"]
    assert [cpu for kind in observation["cpuinfo"] for cpu in kind["cpus"]]
    assert observation["candidates"] == [["good", ["fake"]], ["second", ["fake"]]]


def test_no_proc(core_program: Build, tmp_path: Path) -> None:
    """A root without proc is an error of its own, and nothing is printed."""
    done = run([core_program("gcc", "sanitized"), "observe", tmp_path, "-"])

    assert done.returncode == error_root()
    assert done.stdout == ""
    assert done.stderr == "holds no proc directory\n"


def test_root_too_long(core_program: Build) -> None:
    """A root path beyond any buffer is an error, not an overflow."""
    done = run([core_program("gcc", "sanitized"), "observe", "/" + "x" * 100_000, "-"])

    assert done.returncode == error_root()


def test_empty_proc(core_program: Build, root: Path) -> None:
    """Files that are not there have no member."""
    observation = observe(core_program, root)

    assert observation["kernel"] == {}
    assert observation["vulnerabilities"] == {}
    assert not {"cpuinfo", "cmdline", "cpuinfo_mount"} & observation.keys()


def test_cpuinfo_kinds(core_program: Build, root: Path) -> None:
    """Equal blocks of cpuinfo are one kind, and only lines on the allow-list leave the machine."""
    block = "model name\t: Fake\nflags\t\t: sse avx\napicid\t\t: 77\nserial\t: SECRET\n\n"
    (root / "proc/cpuinfo").write_text(
        f"processor\t: 0\n{block}processor\t: 1\n{block.replace(' avx', '')}processor\t: 2\n{block}"
    )

    cpuinfo = observe(core_program, root)["cpuinfo"]

    assert cpuinfo == [
        {"cpus": [0, 2], "fields": {"model name": "Fake", "flags": "sse avx"}},
        {"cpus": [1], "fields": {"model name": "Fake", "flags": "sse"}},
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\n\n\n", []),
        (b":\n : \nprocessor\n", []),
        (b"processor\t: 0\nflags\t: fpu", [{"cpus": [0], "fields": {"flags": "fpu"}}]),
        (b"processor : 0\nflags : a\0b\n", [{"cpus": [0], "fields": {"flags": "a\0b"}}]),
        (
            b'processor : 0\nmodel name : "\\\xff\x1b[31m\n',
            [{"cpus": [0], "fields": {"model name": '"\\\xff\x1b[31m'}}],
        ),
        (b"\0" * 100_000, []),
        (
            b"processor : 99999999999999999999\nflags : a\n",
            [{"cpus": [999999999], "fields": {"flags": "a"}}],
        ),
    ],
    ids=["empty", "blank", "colons", "no-newline", "nul", "escapes", "zeros", "huge-number"],
)
def test_cpuinfo_content(
    core_program: Build, root: Path, content: bytes, expected: list[dict[str, Any]]
) -> None:
    """Broken lines of cpuinfo give valid JSON that holds what was readable."""
    (root / "proc/cpuinfo").write_bytes(content)

    assert observe(core_program, root)["cpuinfo"] == expected


def test_cpuinfo_long_line(core_program: Build, root: Path) -> None:
    """A line longer than the buffer is cut, and the lines after it are still read."""
    (root / "proc/cpuinfo").write_text(
        "processor : 0\nflags : " + "x" * 1_000_000 + "\nmodel name : after\n"
    )

    fields = observe(core_program, root)["cpuinfo"][0]["fields"]

    assert fields["model name"] == "after"
    assert set(fields["flags"]) == {"x"}
    assert 1000 < len(fields["flags"]) < 8192


def test_cpuinfo_many_lines(core_program: Build, root: Path) -> None:
    """100,000 processors of one kind are one kind; of as many kinds, the first few are kept."""
    path = root / "proc/cpuinfo"
    path.write_text("".join(f"processor : {i}\nflags : a\n" for i in range(100_000)))
    same = observe(core_program, root)["cpuinfo"]
    path.write_text("".join(f"processor : {i}\nflags : {i}\n" for i in range(100_000)))
    distinct = observe(core_program, root)["cpuinfo"]

    assert [kind["cpus"] for kind in same] == [list(range(100_000))]
    assert 1 < len(distinct) <= 16
    assert distinct[0] == {"cpus": [0], "fields": {"flags": "0"}}


@pytest.mark.parametrize("name", ["proc/cpuinfo", "proc/cmdline", "proc/self/mountinfo"])
def test_endless_file(core_program: Build, root: Path, name: str) -> None:
    """A file without an end, which is one endless line, is given up on."""
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).symlink_to("/dev/zero")

    done = run([core_program("gcc", "sanitized"), "observe", root, "-"], timeout=60)

    assert done.returncode == 0
    json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["fifo", "directory", "unreadable", "loop"])
def test_cpuinfo_is_no_file(core_program: Build, root: Path, kind: str) -> None:
    """A cpuinfo that is not a file neither hangs the probe nor breaks the document."""
    path = root / "proc/cpuinfo"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "unreadable":
        path.touch(mode=0)
    else:
        path.symlink_to(path)

    assert observe(core_program, root).get("cpuinfo", []) == []


def test_fifo_with_writer(core_program: Build, root: Path) -> None:
    """A FIFO that somebody holds open and never writes to does not hang the probe either."""
    path = root / "proc/cpuinfo"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        observation = observe(core_program, root)
    finally:
        os.close(descriptor)

    assert observation["cpuinfo"] == []


def test_command_line_secrets(core_program: Build, root: Path) -> None:
    """Of the command line only known words with harmless values leave the machine."""
    (root / "proc/cmdline").write_text(
        "BOOT_IMAGE=/vmlinuz root=UUID=1234-SECRET password=SECRET clearcpuid=avx2,avx "
        "mitigations=SECRET noxsave gather_data_sampling=force noxsavex=1 xnoxsave "
        "clearcpuid=$(SECRET) tsx=" + "a" * 200 + "\tnosmt\n"
    )

    words = observe(core_program, root)["cmdline"]

    assert words == ["clearcpuid=avx2,avx", "noxsave", "gather_data_sampling=force", "nosmt"]


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("tsx=alice", None),
        ("tsx=on", "tsx=on"),
        ("tsx=on,alice", "tsx=on"),
        ("tsx=off,on", "tsx=off,on"),
        ("tsx", "tsx"),
        ("tsx=", None),
        ("mitigations=auto,nosmt", "mitigations=auto,nosmt"),
        ("clearcpuid=alice,avx2,514,rtm,", "clearcpuid=avx2,514,rtm"),
        ("clearcpuid=4915112345678", None),
        ("clearcpuid=" + "avx2," * 100 + "avx", "clearcpuid=" + "avx2," * 48 + "avx2"),
        ("maxcpus=4", "maxcpus=4"),
        ("maxcpus=four", None),
        ("noxsave=alice", None),
        ("nosmt=force", "nosmt=force"),
        ("nosmt=force=alice", None),
    ],
)
def test_command_line_values(core_program: Build, root: Path, word: str, kept: str | None) -> None:
    """Of a known word's value only what the kernel itself knows leaves the machine."""
    (root / "proc/cmdline").write_text(f"quiet {word} splash\n")

    assert observe(core_program, root)["cmdline"] == ([] if kept is None else [kept])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "593 516 0:47 /proc/cpuinfo /proc/cpuinfo rw,nosuid - fuse.lxcfs lxcfs rw\n",
            "fuse.lxcfs",
        ),
        ("593 516 0:47 / /proc/cpuinfo rw shared:1 master:2 - ext4 /dev/sda1 rw\n", "ext4"),
        ("593 516 0:47 / /proc/cpuinfo.d rw - ext4 /dev/sda1 rw\n", None),
        ("593 516 0:47 / /mnt rw - ext4 /proc/cpuinfo rw\n", None),
        ("593 516 0:47 / /proc/cpuinfo rw -", None),
        ("593 516 0:47 / /proc/cpuinfo rw", None),
        ("", None),
    ],
)
def test_cpuinfo_mount(core_program: Build, root: Path, line: str, expected: str | None) -> None:
    """A mount over /proc/cpuinfo is named by its filesystem type; other mounts are not."""
    (root / "proc/self").mkdir()
    (root / "proc/self/mountinfo").write_text("1 0 0:1 / / rw - overlay overlay rw\n" + line)

    assert observe(core_program, root).get("cpuinfo_mount") == expected


def test_kernel_and_vulnerability(core_program: Build, root: Path) -> None:
    """The kernel's release and the GDS line are one line each, whatever follows."""
    (root / "proc/sys/kernel").mkdir(parents=True)
    (root / "proc/sys/kernel/osrelease").write_text("6.1.0-fake\nsecond line\n")
    (root / "proc/sys/kernel/version").write_text("#1 SMP " + "v" * 100_000)
    vulnerabilities = root / "sys/devices/system/cpu/vulnerabilities"
    vulnerabilities.mkdir(parents=True)
    mitigation = "Mitigation: AVX disabled, no microcode"
    (vulnerabilities / "gather_data_sampling").write_text(mitigation + "\n")

    observation = observe(core_program, root)

    assert observation["kernel"]["release"] == "6.1.0-fake"
    assert observation["kernel"]["version"] == "#1 SMP"
    assert observation["vulnerabilities"] == {"gather_data_sampling": mitigation}


VERSIONS = [
    ("#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1 (2026-01-02)",) * 2,
    ("#49~22.04.1-Ubuntu SMP PREEMPT_DYNAMIC Wed Jul 10 17:44:05 UTC 2",) * 2,
    ("#1 SMP Sun Jan 10 15:06:54 PST 2016",) * 2,
    ("#1-NixOS SMP Thu Jan  1 00:00:00 UTC 1970", "#1-NixOS SMP Thu Jan 1 00:00:00 UTC 1970"),
    ("#7-alice SMP alice@build-12 Debian", "SMP Debian"),
    ("#4915112345678 SMP build.example.org", "SMP"),
    ("alice", None),
    ("", None),
]


@pytest.mark.parametrize(("version", "kept"), VERSIONS)
def test_kernel_version(core_program: Build, root: Path, version: str, kept: str | None) -> None:
    """Of `uname -v` no word leaves the machine that could be a builder's name or host."""
    (root / "proc/sys/kernel").mkdir(parents=True)
    (root / "proc/sys/kernel/version").write_text(version + "\n")

    assert observe(core_program, root)["kernel"].get("version") == kept


def test_cpus_option(core_program: Build, root: Path) -> None:
    """--cpus restricts what is measured."""
    cpu = max(os.sched_getaffinity(0))

    groups = observe(core_program, root, str(cpu))["groups"]

    assert [group["cpus"] for group in groups] == [[cpu]]
    assert groups[0]["ran"] == ["ok", "ok"]


# --- cpuprobe-native --------------------------------------------------------------------------


def test_size(native_builds: tuple[Path, Path]) -> None:
    """The static executable stays small: 600 rows of names and results, and 20 KiB of code."""
    assert native_builds[0].stat().st_size < 128 * 1024


def test_static(native_builds: tuple[Path, Path]) -> None:
    """The executable has no dynamic section, no interpreter and no undefined symbol."""
    elf = pytest.importorskip("elftools.elf.elffile")
    for path in native_builds:
        with path.open("rb") as stream:
            file = elf.ELFFile(stream)
            kinds = {segment["p_type"] for segment in file.iter_segments()}
            symbols = file.get_section_by_name(".symtab")
            undefined = [
                symbol.name
                for symbol in (symbols.iter_symbols() if symbols is not None else ())
                if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name
            ]

        assert file["e_type"] == "ET_EXEC"
        assert not {"PT_DYNAMIC", "PT_INTERP", "PT_TLS"} & kinds
        assert undefined == []


def test_segments(native_builds: tuple[Path, Path]) -> None:
    """No segment is writable and executable, and the stack is not executable."""
    elf = pytest.importorskip("elftools.elf.elffile")
    with native_builds[0].open("rb") as stream:
        segments = list(elf.ELFFile(stream).iter_segments())
    stacks = [segment for segment in segments if segment["p_type"] == "PT_GNU_STACK"]

    assert len(stacks) == 1
    assert not stacks[0]["p_flags"] & 1
    assert [s for s in segments if s["p_flags"] & 3 == 3] == []


def test_instructions(native_builds: tuple[Path, Path]) -> None:
    """Outside the candidates and the register stub no instruction needs more than SSE2."""
    elf = pytest.importorskip("elftools.elf.elffile")
    iced = pytest.importorskip("iced_x86")
    with native_builds[1].open("rb") as stream:
        file = elf.ELFFile(stream)
        sections = {
            index: (section["sh_addr"], section.data())
            for index, section in enumerate(file.iter_sections())
            if section["sh_flags"] & 4  # SHF_EXECINSTR
        }
        symbols = sorted(
            {
                (symbol["st_value"], symbol.name)
                for symbol in file.get_section_by_name(".symtab").iter_symbols()
                if symbol["st_shndx"] in sections and symbol.name
            }
        )
    names = {code: name for name, code in vars(iced.CpuidFeature).items() if isinstance(code, int)}
    excess: list[str] = []
    checked = exempt = 0
    for start, code in sections.values():
        inside = [(at, name) for at, name in symbols if start <= at < start + len(code)]
        assert inside, "an executable section without symbols"
        assert inside[0][0] == start
        ends = [at for at, _ in inside[1:]] + [start + len(code)]
        for (at, name), end in zip(inside, ends, strict=True):
            if name.startswith("cpuprobe_candidate_") or name in STUB_SYMBOLS:
                exempt += 1
                continue
            for instruction in iced.Decoder(64, code[at - start : end - start], ip=at):
                checked += 1
                needed = {names[feature] for feature in instruction.cpuid_features()}
                if not needed <= BASELINE:
                    excess.append(f"{name}+{instruction.ip - at:#x}: {instruction} {needed}")

    assert excess == []
    assert checked > 1000
    assert exempt > len(STUB_SYMBOLS) / 2


def test_list(native_builds: tuple[Path, Path]) -> None:
    """--list prints name, features and code of every candidate that the observation names."""
    done = run([native_builds[0], "--list"])
    observed = run([native_builds[0], "--cpus", str(min(os.sched_getaffinity(0)))])
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    document = json.loads(observed.stdout)

    assert done.returncode == observed.returncode == 0
    assert done.stderr == observed.stderr == ""
    assert rows
    assert {len(row) for row in rows} == {3}
    assert all(re.fullmatch(r"(?:[0-9a-f]{2})+", row[2]) for row in rows)
    assert [[name, features.split(",")] for name, features, _ in rows] == document["observation"][
        "candidates"
    ]


def test_version_and_help(native_builds: tuple[Path, Path]) -> None:
    """--version and --help answer on standard output."""
    version = run([native_builds[0], "--version"])
    usage = run([native_builds[0], "--help"])

    assert re.fullmatch(r"cpuprobe-native \d+\.\d+\.\d+\S*\n", version.stdout)
    assert usage.stdout.startswith("usage: cpuprobe-native")
    assert version.returncode == usage.returncode == 0
    assert version.stderr == usage.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["--bogus"], 2, "--bogus"),
        (["positional"], 2, "positional"),
        (["--cpus"], 2, "--cpus"),
        (["--root"], 2, "--root"),
        (["--cpus", "60000"], 2, "--cpus"),
        (["--repeat"], 2, "--repeat"),
        (["--repeat", "0"], 2, "--repeat"),
        (["--repeat", "1000000001"], 2, "--repeat"),
        (["--repeat", "99999999999999999999"], 2, "--repeat"),
        (["--repeat", "-1"], 2, "--repeat"),
        (["--repeat", "many"], 2, "--repeat"),
        (["--cpus", "999999999999"], 2, "--cpus"),
        (["--cpus", ""], 2, "--cpus"),
        (["--cpus", "1-0"], 2, "--cpus"),
        (["--root", "/nonexistent"], 3, "/nonexistent"),
    ],
)
def test_errors(
    native_builds: tuple[Path, Path], arguments: list[str], code: int, named: str
) -> None:
    """A usage error exits with 2, a machine that cannot be measured with 3, in one line each."""
    done = run([native_builds[0], *arguments])

    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("cpuprobe-native: ")
    assert named in done.stderr


def test_cpu_999_is_absent(native_builds: tuple[Path, Path]) -> None:
    """A CPU that this machine lacks is a usage error."""
    if 999 in os.sched_getaffinity(0):
        pytest.skip("this machine has a CPU 999")

    assert run([native_builds[0], "--cpus", "999"]).returncode == 2


def test_no_exec(native_builds: tuple[Path, Path]) -> None:
    """--no-exec reads CPUID and runs no candidate."""
    observation = json.loads(run([native_builds[0], "--no-exec"]).stdout)["observation"]

    assert observation["executed"] is False
    assert "candidates" not in observation
    assert all("ran" not in group and group["cpuid"] for group in observation["groups"])


def test_repeat(native_builds: tuple[Path, Path]) -> None:
    """--repeat runs every candidate with every input, and a machine in order passes all rounds."""
    observation = json.loads(run([native_builds[0], "--repeat", "8"]).stdout)["observation"]
    once = json.loads(run([native_builds[0]]).stdout)["observation"]

    for group in observation["groups"]:
        assert group["repeated"] == {"rounds": 8, "failed": {}}
    assert [group["ran"] for group in observation["groups"]] == [
        group["ran"] for group in once["groups"]
    ]
    assert all("repeated" not in group for group in once["groups"])


def test_full_output(native_builds: tuple[Path, Path]) -> None:
    """When standard output cannot be written, the exit code says so."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([native_builds[0]], stdout=full, stderr=subprocess.PIPE)

    assert done.returncode == 3


@pytest.mark.parametrize("arguments", [(), ("--list",), ("--help",), ("--version",)])
def test_a_reader_that_has_gone(native_builds: tuple[Path, Path], arguments: tuple[str]) -> None:
    """`cpuprobe-native | head -1`: a quiet end, not a death by SIGPIPE."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run([native_builds[0], *arguments], stdout=write, stderr=subprocess.PIPE)
    finally:
        os.close(write)

    assert (done.returncode, done.stderr) == (0, b"")


def test_starts_without_environment(native_builds: tuple[Path, Path], tmp_path: Path) -> None:
    """The executable needs no library, no environment and no /proc to list its candidates."""
    program = shutil.copy2(native_builds[0], tmp_path / "probe")

    done = subprocess.run([program, "--list"], env={}, cwd="/", capture_output=True)

    assert done.returncode == 0
    assert done.stdout
