"""`cpuprobe diff`: what differs between two machines, and whether one's code runs on the other."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.command import cpuprobe
from tests.fakes import V2, V3, V4, XCR0_AVX512, gds_machine, group, observation

from cpuprobe.assessment import assess
from cpuprobe.assessment.difference import Findings, Pair, Side, compare
from cpuprobe.assessment.model import Finding
from cpuprobe.evidence.machines import parse_capture
from cpuprobe.evidence.observation import Cpuinfo, Observation
from cpuprobe.report.document import make_report, to_json


def v3_machine(**more: object) -> Observation:
    return observation(group(V3), listed=V3, **more)  # type: ignore[arg-type]


def v4_machine() -> Observation:
    return observation(group(V4, xcr0=XCR0_AVX512), listed=V4)


def save(folder: Path, name: str, machine: Observation) -> str:
    path = folder / f"{name}.json"
    path.write_bytes(to_json(make_report(machine, assess(machine))))
    return str(path)


def diff(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return cpuprobe("diff", *arguments, stdin=stdin)


def compared(a: Observation, b: Observation) -> dict[str, Any]:
    difference = compare(Side("a", a, assess(a, "50")), Side("b", b, assess(b, "50")))
    document: dict[str, Any] = json.loads(msgspec.json.encode(difference))
    return document


def test_a_machine_is_the_same_as_itself(tmp_path):
    """Nothing differs, the text says so, and everything runs on both."""
    path = save(tmp_path, "gds", gds_machine())
    result = diff(path, path)

    assert result.returncode == 0
    assert "Same: nothing that cpuprobe compares differs." in result.stdout.decode()
    assert result.stdout.decode().count("? yes") == 2
    document = json.loads(diff(path, path, "--json").stdout)
    assert document["same"] is True
    assert document["features"] == document["identity"] == document["flags"] == {}
    assert document["findings"] == {"only_a": [], "only_b": [], "changed": {}}


def test_a_hypervisor_by_its_signature_and_by_its_name_is_one():
    """CPUID says KVMKVMKVM, lscpu KVM; of Hyper-V they say `Microsoft Hv` and `Microsoft`."""
    for signature, word in (("KVMKVMKVM", "KVM"), ("Microsoft Hv", "Microsoft")):
        guest = observation(group(V3, hypervisor=signature), listed=V3)
        told = parse_capture(
            f"Architecture: x86_64\nVendor ID: GenuineIntel\nHypervisor vendor: {word}\n"
            "Flags: fpu sse sse2 lm avx hypervisor\n".encode()
        )
        bare = observation(group(V3), listed=V3)

        assert assess(told).identity.hypervisor == word
        assert "hypervisor" not in compared(guest, told)["identity"]
        assert compared(guest, bare)["identity"]["hypervisor"] == {"a": signature, "b": None}


def test_the_flags_that_b_lacks_are_named():
    """AVX-512 flags are on where it is compiled and missing where it runs; not the other way."""
    document = compared(v4_machine(), v3_machine())

    assert document["a_on_b"] == {
        "runs": False,
        "missing": ["has_avx512dq", "has_avx512vl", "has_avx512f"],
    }
    assert document["b_on_a"] == {"runs": True, "missing": []}
    assert set(document["flags"]) == {"has_avx512dq", "has_avx512vl", "has_avx512f"}
    assert document["flags"]["has_avx512f"] == {"a": True, "b": False}
    assert document["features"]["avx512bw"]["a"]["state"] == "usable"
    assert document["features"]["avx512bw"]["b"]["state"] == "absent"
    assert "avx2" not in document["features"]
    assert document["same"] is False


def test_a_mitigated_kernel_against_the_same_cpu_without():
    """GDS: what the healthy twin compiles dies there; kernel, sysfs, XCR0, command line differ."""
    document = compared(v3_machine(), gds_machine())

    assert {"has_avx", "has_avx2", "has_fma", "has_bmi1", "has_bmi2"} == set(
        document["a_on_b"]["missing"]
    )
    assert document["identity"]["XCR0"] == {"a": "0x7", "b": "0x3"}
    assert document["identity"]["kernel"] == {"a": "6.12.48", "b": "6.1.0-49-amd64"}
    assert document["identity"]["gather_data_sampling"]["a"] == "Not affected"
    assert document["identity"]["command line"]["b"] == "gather_data_sampling=force"
    assert "CP101" in [finding["code"] for finding in document["findings"]["only_b"]]
    assert document["findings"]["only_a"] == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("microcode", "0xf0"), ("flags", "sse avx"), ("bugs", "gds")],
)
def test_one_different_line_of_cpuinfo_is_a_difference(field, value):
    """Microcode, flags and bugs each are enough."""
    blocks = v3_machine().cpuinfo
    assert blocks is not None
    changed = Cpuinfo(blocks[0].cpus, {**blocks[0].fields, field: value})
    document = compared(v3_machine(), v3_machine(blocks=(changed,)))

    assert document["same"] is False
    key = field if field == "microcode" else f"/proc/cpuinfo {field}"
    assert document["identity"][key]["b"] == " ".join(sorted(value.split()))
    assert [each for each in document["identity"] if field in each] == [key]


def test_the_order_of_flags_is_no_difference():
    """A kernel that prints the same names in another order is the same."""
    blocks = v3_machine().cpuinfo
    assert blocks is not None
    words = " ".join(reversed(blocks[0].fields["flags"].split()))
    turned = Cpuinfo(blocks[0].cpus, {**blocks[0].fields, "flags": words})

    assert compared(v3_machine(), v3_machine(blocks=(turned,)))["same"] is True


def test_a_finding_with_other_features_is_changed_not_new():
    """The same code for different features stands under `changed`."""
    broken = [
        observation(group(V4, xcr0=XCR0_AVX512, outcomes={name: "sigill"}), listed=V4)
        for name in ("avx512vl", "avx512dq")
    ]
    document = compared(*broken)

    assert document["findings"]["changed"]["CP201"] == {"a": ["avx512vl"], "b": ["avx512dq"]}
    assert document["a_on_b"]["missing"] == ["has_avx512dq"]
    assert document["b_on_a"]["missing"] == ["has_avx512vl"]


def test_a_code_with_two_causes_is_two_findings():
    """What both have cancels out, cause by cause; the other is not lost behind its code."""
    machine = gds_machine()
    one = assess(machine, "50")
    found = one.findings[0]
    other = msgspec.structs.replace(found, features=("pku",))

    def findings(a: tuple[Finding, ...], b: tuple[Finding, ...]) -> Findings:
        sides = (
            Side(str(at), machine, msgspec.structs.replace(one, findings=each))
            for at, each in enumerate((a, b))
        )
        return compare(*sides).findings

    assert findings((found, other), (other,)) == Findings((found,), (), {})
    assert findings((), (found, other)) == Findings((), (found, other), {})
    third = msgspec.structs.replace(found, features=("apxf",))
    assert findings((found, other), (third, other)).changed == {
        found.code: Pair(found.features, ("apxf",))
    }


def test_text_is_readable_and_narrow(tmp_path):
    """The question has its line; nothing is wider than 100 columns; no control characters."""
    a = save(tmp_path, "healthy", v3_machine())
    b = save(tmp_path, "mitigated", gds_machine())
    result = diff(a, b)
    text = result.stdout.decode()

    assert result.returncode == 0
    assert "compiled on A, runs on B? no: not safe there (wasmtime 50): has_avx has_avx2" in text
    assert "compiled on B, runs on A? yes" in text
    assert "only B: CP101 error" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text


def test_names_are_without_folders(tmp_path):
    """Folders are told only where the names alone could be confused."""
    (tmp_path / "x").mkdir()
    a, b = save(tmp_path, "one", v3_machine()), save(tmp_path, "two", gds_machine())
    same = save(tmp_path / "x", "one", gds_machine())

    assert str(tmp_path).encode() not in diff(a, b).stdout
    document = json.loads(diff(a, same, "--json").stdout)
    assert (document["a"], document["b"]) == (a, same)


def test_versions_that_differ_are_noted():
    """Flags are compared for A's wasmtime; the note says that no module would load anyway."""
    document = compared(v3_machine(wasmtime="48.0.0"), v3_machine(wasmtime="50.0.1"))

    assert document["identity"]["installed wasmtime"] == {"a": "48.0.0", "b": "50.0.1"}
    assert "loads only into the version that made it" in document["notes"][0]


def test_nothing_executed_is_noted():
    """Where a side rests on CPUID alone the comparison says so."""
    document = compared(v3_machine(), observation(group(V3, executed=False), listed=V3))

    assert document["notes"] == ["b: nothing was executed there; this rests on what CPUID claims"]


def test_hostile_names_and_values_stay_on_one_line(tmp_path):
    """Escape sequences in a file's name do not reach the terminal; in a report they are refused."""
    name = "a\x1b[2Jevil\nA line"
    a, b = save(tmp_path, name, v3_machine()), save(tmp_path, "b", v3_machine())
    result = diff(a, b)
    text = result.stdout.decode()

    assert result.returncode in (0, 1)
    assert "\x1b" not in text
    assert "a\ufffd[2Jevil\ufffdA line" in " ".join(text.split())

    hostile = save(tmp_path, "c", v3_machine(release="6.1\x1b[2Jevil\nA line"))
    result = diff(hostile, b)

    assert result.returncode == 4
    assert b"\x1b" not in result.stderr
    assert result.stderr.count(b"\n") == 1


def test_errors(tmp_path):
    """Unreadable input is exit 4, two standard inputs and unknown versions are exit 2."""
    good = save(tmp_path, "good", v3_machine())
    for arguments, code in (
        ((good, str(tmp_path / "none.json")), 4),
        (("-", "-"), 2),
        ((good, good, "--wasmtime", "soon"), 2),
        ((good,), 2),
    ):
        result = diff(*arguments)
        assert result.returncode == code, arguments
        assert result.stdout == b""
        assert result.stderr.startswith(b"cpuprobe: error: ")
        assert result.stderr.count(b"\n") == 1


def test_standard_input_is_one_side(tmp_path):
    """`-` reads one of the two."""
    good = save(tmp_path, "good", v3_machine())
    other = to_json(make_report(v4_machine(), assess(v4_machine())))
    document = json.loads(diff(good, "-", "--json", stdin=other).stdout)

    assert document["b"] == "standard input"
    assert document["a_on_b"]["runs"] is True
    assert document["b_on_a"]["runs"] is False


def test_levels_are_compared():
    """Verdict and psABI levels are part of the identity."""
    document = compared(v3_machine(), observation(group(V2, xcr0=0x3), listed=V2))

    assert document["identity"]["level"] == {"a": "x86-64-v3", "b": "x86-64-v2"}
