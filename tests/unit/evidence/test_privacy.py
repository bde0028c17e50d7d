"""Privacy by construction: secrets planted in a fake root reach no output in any format."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from cpuprobe.emit import FORMATS
from cpuprobe.evidence import block, share
from cpuprobe.evidence.measure import native_executable

CPUPROBE = (sys.executable, "-m", "cpuprobe")

# Each is unlike anything else that could stand in a report.
HOST, USER, HOME = "zz-hostname-zz", "zzalicezz", "/home/zzalicezz/zz-project"
UUID, TOKEN = "0dd5ec2e-7a55-4c2e-9d3b-5ec2e7a554c2", "tok.zz9f8e7d6c5b4a"
SERIAL, MACHINE_ID = "ZZSN-4711-0815", "5ec2e75ec2e75ec2e75ec2e75ec2e700"
APIC, BOGOMIPS = "7777001", "4711.47"
SECRETS = (
    HOST,
    USER,
    "zz-project",
    UUID,
    TOKEN,
    SERIAL,
    MACHINE_ID,
    APIC,
    BOGOMIPS,
    "0dd5ec2e",
    "zz9f8e7d",
    "zz-shout",
)

# What has to come through, so that a probe that reads nothing does not pass.
KEPT = ("6.1.0-49-amd64", "0xf0f0", "Zz Test CPU 9000", "clearcpuid=rtm", "fuse.lxcfs")

FILES = {
    "proc/cmdline": (
        f"BOOT_IMAGE={HOME}/vmlinuz root=UUID={UUID} ro clearcpuid=rtm user={USER} "
        f"api_token={TOKEN} systemd.hostname={HOST} mitigations=ZZ-SHOUT-{TOKEN} "
        f"ip=10.0.0.1::{HOST} clearcpuidx={TOKEN} tsx=Zz{SERIAL} "
        f'init="/bin/sh -c {USER}" {TOKEN}\n'
    ),
    "proc/cpuinfo": (
        "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 94\n"
        "model name\t: Zz Test CPU 9000\nstepping\t: 3\nmicrocode\t: 0xf0f0\n"
        f"apicid\t\t: {APIC}\ninitial apicid\t: {APIC}\nbogomips\t: {BOGOMIPS}\n"
        f"serial\t\t: {SERIAL}\nSerial\t\t: {SERIAL}\nHardware\t: {HOST}\n"
        f"model name \x01\t: {SERIAL}\nmodel namex\t: {USER}\nxmodel name\t: {USER}\n"
        "flags\t\t: fpu sse sse2\nbugs\t\t: gds\n\n"
    ),
    "proc/version": f"Linux version 6.1.0 ({USER}@{HOST}) (gcc) #1 SMP\n",
    "proc/sys/kernel/osrelease": "6.1.0-49-amd64\n",
    "proc/sys/kernel/version": f"#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1\n{USER}@{HOST}\n",
    "proc/sys/kernel/hostname": f"{HOST}\n",
    "proc/sys/kernel/domainname": f"{HOST}\n",
    "proc/sys/kernel/random/boot_id": f"{UUID}\n",
    "proc/self/mountinfo": (
        f"21 1 8:1 {HOME} / rw - ext4 /dev/disk/by-uuid/{UUID} rw\n"
        f"30 21 0:44 {HOME}/cpuinfo /proc/cpuinfo rw,nosuid master:7 - fuse.lxcfs {HOST} "
        f"rw,user_id={APIC}\n"
    ),
    "proc/self/environ": f"USER={USER}\0HOME={HOME}\0TOKEN={TOKEN}\0",
    "proc/1/environ": f"container={USER}\0",
    "proc/1/cgroup": f"0::/docker/{MACHINE_ID}\n",
    "etc/hostname": f"{HOST}\n",
    "etc/machine-id": f"{MACHINE_ID}\n",
    "run/systemd/container": f"{USER}\n",
    "sys/class/dmi/id/product_serial": f"{SERIAL}\n",
    "sys/class/dmi/id/product_uuid": f"{UUID}\n",
    "sys/devices/system/cpu/vulnerabilities/gather_data_sampling": (
        f"Mitigation: Microcode\n{USER}@{HOST}\n"
    ),
    "sys/devices/system/cpu/vulnerabilities/zz": f"{SERIAL}\n",
    "sys/devices/system/cpu/cpu0/topology/core_id": f"{APIC}\n",
}


def run(*command: str) -> str:
    """Standard output and standard error of a command whose environment is full of secrets too."""
    environment = {
        **os.environ,
        "USER": USER,
        "LOGNAME": USER,
        "HOSTNAME": HOST,
        "CPUPROBE_TOKEN": TOKEN,
    }
    result = subprocess.run(command, capture_output=True, timeout=120, env=environment)
    assert result.returncode in (0, 1), result
    return (result.stdout + result.stderr).decode()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@pytest.fixture(scope="module")
def outputs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every output of every command, by a name."""
    # The capture itself lies in somebody's home.
    home = tmp_path_factory.mktemp("captures") / HOME.lstrip("/")
    home.mkdir(parents=True)
    capture, other = home / "capture.json", home / "other.json"
    made = {
        "json": run(*CPUPROBE, "--json", "--root", str(root)),
        "text": run(*CPUPROBE, "--all", "--root", str(root)),
        "native": run(native_executable(), "--root", str(root)),
    }
    capture.write_text(made["json"])
    other.write_text(made["native"])
    for form in ("markdown", "json", "html"):
        made[f"report {form}"] = run(*CPUPROBE, "report", "--format", form, "--root", str(root))
        made[f"report {form} of a capture"] = run(
            *CPUPROBE, "report", "--format", form, "--from", str(capture)
        )
    for dialect in FORMATS:
        made[f"flags {dialect}"] = run(
            *CPUPROBE, "flags", "--format", dialect, "--from", str(capture)
        )
    made["inspect json"] = run(*CPUPROBE, "inspect", "--json", str(capture))
    made["diff"] = run(*CPUPROBE, "diff", str(capture), str(other))
    made["diff json"] = run(*CPUPROBE, "diff", "--json", str(capture), str(other))
    made["screen"] = run(*CPUPROBE, "--root", str(root))
    made["screen of a capture"] = run(*CPUPROBE, "inspect", str(capture))
    return {name: text + _unpacked(text) for name, text in made.items()}


def _unpacked(text: str) -> str:
    """What the data block of a report and the code of a screen hold, to be searched as well."""
    found = ""
    for match in re.finditer(f"{block.BEGIN}(.*?){block.END}", text, re.DOTALL):
        found += block.opened(match[1], 1 << 23).decode()
    for match in re.finditer(rf"{share.BEGIN}[\w+/\s]+\.", text):
        found += msgspec.json.encode(share.unpack(match[0])).decode()
    return found


def test_no_output_holds_a_secret(outputs):
    """Not one planted word, in any spelling of case, in any of the outputs."""
    for name, text in outputs.items():
        for secret in SECRETS:
            assert secret.lower() not in text.lower(), (name, secret)


def test_what_is_allowed_comes_through(outputs):
    """The probe did read the fake root: the allowed neighbours of the secrets are there."""
    for name in ("json", "native", "report markdown", "report json", "report html"):
        for word in KEPT:
            assert word in outputs[name], (name, word)
    for name in ("screen", "screen of a capture"):
        assert '"source":"probe"' in outputs[name], name


def test_cpuinfo_keys_are_the_allowed_ones(outputs):
    """No key of /proc/cpuinfo beyond the documented list."""
    blocks = json.loads(outputs["native"])["observation"]["cpuinfo"]

    assert {key for block in blocks for key in block["fields"]} == {
        "vendor_id",
        "cpu family",
        "model",
        "model name",
        "stepping",
        "microcode",
        "flags",
        "bugs",
    }


def test_command_line_is_the_known_words(outputs):
    """Of the planted command line one word is known and has a harmless value."""
    assert json.loads(outputs["json"])["observation"]["cmdline"] == ["clearcpuid=rtm"]


@pytest.mark.parametrize("output", ["json", "native"])
def test_cpuid_carries_no_serial_and_no_apic_id(outputs, output):
    """Leaf 3 is never read; initial APIC id, x2APIC id and AMD's extended APIC id are zero.

    SDM vol. 2A, CPUID: 01H:EBX[31:24], 0BH:EDX, 1FH:EDX; APM vol. 3: 8000001EH:EAX, 80000026H:EDX.
    """
    seen = set()
    for group in json.loads(outputs[output])["observation"]["groups"]:
        for leaf, _, eax, ebx, _, edx in group["cpuid"]:
            seen.add(leaf)
            assert leaf != 3
            if leaf == 1:
                assert ebx >> 24 == 0
            if leaf in (0xB, 0x1F, 0x80000026):
                assert edx == 0
            if leaf == 0x8000001E:
                assert eax == 0
    assert {0, 1} <= seen


def test_this_machine_is_not_named(tmp_path):
    """The real report of this machine, other libraries' answers included, does not name it."""
    secrets = {socket.gethostname(), socket.getfqdn(), str(Path.home())}
    for path in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"):
        if os.path.exists(path):
            secrets.add(Path(path).read_text().strip())
    texts = {
        form: run(*CPUPROBE, "report", "--format", form) for form in ("markdown", "html", "json")
    }
    for form, text in texts.items():
        for secret in secrets:
            if len(secret) >= 4 and secret != "localhost":
                assert not re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", text), (form, secret)
