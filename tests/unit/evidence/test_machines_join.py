"""What belongs to one machine and what does not: one text, several files, headings."""

from __future__ import annotations

import io
import json
import lzma
import tarfile
from pathlib import Path

import pytest
from tests.fakes import gds_machine

from cpuprobe.assessment import assess
from cpuprobe.cli import run
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.evidence.machines.join import agree
from cpuprobe.evidence.machines.read import read_machines, read_together
from cpuprobe.evidence.observation import ToldIdentity
from cpuprobe.report.document import make_report, to_json

DATA = Path(__file__).parents[2] / "data"
MACHINES, SAMPLES = DATA / "machines", DATA / "captures"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (
            {"brand": "Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz"},
            {"brand": "Intel Core i7-8650U"},
            True,
        ),
        ({"brand": "Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz"}, {"brand": "i5-8250U"}, False),
        ({"vendor": "GenuineIntel"}, {"vendor": "Intel Corp."}, True),
        ({"vendor": "GenuineIntel"}, {"vendor": "AuthenticAMD"}, False),
        ({"vendor": "AuthenticAMD"}, {"vendor": "HygonGenuine"}, False),
        ({"family": 6, "model": 94}, {"family": 6}, True),
        ({"family": 6, "model": 94}, {"family": 6, "model": 85}, False),
        ({}, {"brand": "AMD EPYC", "family": 25}, True),
    ],
)
def test_identities(one, other, same):
    """What one of them does not tell contradicts nothing; spelling is no difference."""
    assert agree(ToldIdentity(**one), ToldIdentity(**other)) is same
    assert agree(ToldIdentity(**other), ToldIdentity(**one)) is same


ARM_BLOCK = "Features\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n"
X86_LIST = "fpu vme sse sse2 ssse3 avx avx2"
X86_BLOCK = f"vendor_id\t: GenuineIntel\nflags\t\t: {X86_LIST}\n"
CPUID_R = "CPU:\n   0x00000000 0x00: eax=0x00000000 ebx=0x68747541 ecx=0x444d4163 edx=0x69746e65\n"


@pytest.mark.parametrize(
    "text",
    [
        f"processor\t: 0\n{ARM_BLOCK}\nprocessor\t: 1\n{X86_BLOCK}",
        f"processor\t: 0\n{X86_BLOCK}\nprocessor\t: 1\n{ARM_BLOCK}",
        "Architecture: aarch64\nCPU(s): 4\nVendor ID: GenuineIntel\nModel: 85\nFlags: " + X86_LIST,
        f"processor\t: 0\n{ARM_BLOCK}\n{CPUID_R}",
    ],
)
def test_two_instruction_sets_are_two_machines(text):
    """One block of /proc/cpuinfo, lscpu's flags, CPUID: none of x86 is about an aarch64 machine."""
    with pytest.raises(CaptureError, match=r"2 different machines .*aarch64"):
        parse_capture(text.encode())


def test_two_machines_under_headings():
    """`inspect` shows both, by what stands above them; other commands have one machine to judge."""
    path = MACHINES / "two-lscpu-works-crashes.txt"
    (works, fast), (crashes, slow) = read_machines(path)

    assert (works, crashes) == ("Works on this machine", "Crashes on this one")
    assert assess(fast).features["avx512f"].safe
    assert not assess(slow).features["sse4.2"].safe
    with pytest.raises(CaptureError, match=r"2 different machines \(.*Gold 6130.*E5440"):
        parse_capture(path.read_bytes())


def test_two_machines_without_headings(tmp_path):
    """Where nothing says which is which, both identities are quoted and none is judged."""
    text = (MACHINES / "two-lscpu-works-crashes.txt").read_text()
    bare = tmp_path / "bare.txt"
    bare.write_text(
        "\n".join(line for line in text.split("\n") if "machine" not in line and "one:" not in line)
    )

    with pytest.raises(CaptureError, match=r"Gold 6130.* and .*E5440"):
        read_machines(bare)


def test_two_lists_of_one_name(tmp_path):
    """The same CPU twice, once with and once without AVX: a guest and its host, not one machine."""
    text = (MACHINES / "cpuinfo-zen3-tabs-expanded.txt").read_text()
    less = text.replace(" avx ", " ").replace(" avx2 ", " ").replace(" f16c ", " ")

    with pytest.raises(CaptureError, match="which differ in features"):
        parse_capture(f"host\n{text}\nguest\n{less}".encode())


def test_several_files_of_one_machine():
    """CPUID, the kernel's list and its words, each in a file of its own, judged as one."""
    parts = ("cpuid-r", "lscpu", "vulnerabilities")
    machine = read_together([str(SAMPLES / f"gds-skylake-{part}.txt") for part in parts])

    assert machine.source == "cpuid-r"
    assert machine.cpuinfo is not None
    assert machine.vulnerabilities["gather_data_sampling"].startswith("Mitigation: AVX disabled")
    assert "CP101" in {finding.code for finding in assess(machine).findings}


def test_files_of_two_machines_are_not_together(tmp_path):
    """What contradicts itself is refused, and so is a report, which is whole."""
    report = tmp_path / "report.json"
    report.write_bytes(to_json(make_report(gds_machine(), assess(gds_machine()))))
    lscpu = str(SAMPLES / "gds-skylake-lscpu.txt")

    with pytest.raises(CaptureError, match="2 different machines"):
        read_together([lscpu, str(MACHINES / "lscpu-e5-2687w-issue.txt")])
    with pytest.raises(CaptureError, match="is whole: give it alone"):
        read_together([lscpu, str(report)])


def test_inspect_together(capsys):
    """`inspect --together` prints one object; without it, a hint on standard error."""
    files = [str(SAMPLES / f"gds-skylake-{part}.txt") for part in ("cpuid-r", "lscpu")]

    run(["inspect", "--json", "--together", *files])
    assert isinstance(json.loads(capsys.readouterr().out), dict)
    run(["inspect", "--json", *files])
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)) == 2
    assert "--together" in shown.err


def test_a_report_whose_data_was_cut_out(capsys, tmp_path):
    """The Markdown of `cpuprobe report` without its data says what is missing."""
    run(["report", "--on", str(SAMPLES / "gds-skylake-lscpu.txt"), "--format", "markdown"])
    text = capsys.readouterr().out
    cut = text[: text.index("-----BEGIN CPUPROBE REPORT")]

    with pytest.raises(CaptureError, match="whose data was cut out"):
        parse_capture(cut.encode())
    with pytest.raises(CaptureError, match="whose data was cut out"):
        parse_capture(text[: text.index("| feature")].encode())


# --- archives -------------------------------------------------------------------------------------


def archive(files: dict[str, bytes], mode: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize("mode", ["w", "w:xz", "w:gz", "w:bz2"])
def test_an_archive_of_hw_probe(mode):
    """The logs that are known are read as one machine's; other files are not looked at."""
    lscpu = (MACHINES / "lscpu-e5-2687w-issue.txt").read_bytes()
    files = {
        "hw.info/logs/lscpu": lscpu,
        "hw.info/logs/smartctl": b"processor : 0\nflags : fpu vme lm avx512f",
        "hw.info/logs/uname": b"Linux host 5.4.0 #1 SMP x86_64 GNU/Linux\n",
    }
    machine = parse_capture(archive(files, mode))

    assert machine.source == "lscpu"
    assert machine.kernel.release == "5.4.0"
    assert assess(machine).level == "x86-64-v2"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: archive({"a/readme": b"x"}, "w:xz"), "without lscpu"),
        (lambda: archive({"lscpu": b"x" * 3000}, "w")[:1500], "damaged|no capture"),
        (lambda: lzma.compress(b"Flags: fpu vme"), "compressed"),
        (lambda: archive({"lscpu": bytes(80 << 20)}, "w:gz"), "more than 64 MiB"),
    ],
)
def test_bad_archives(make, reason):
    """No log in it, cut off, no archive at all, a bomb."""
    with pytest.raises(CaptureError, match=reason):
        parse_capture(make())
