"""Ansible, systemd and Kubernetes' own schemas take what is written for them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cpuprobe.assessment import assess
from cpuprobe.emit import FORMATS
from cpuprobe.evidence.machines import read_capture
from cpuprobe.evidence.measure import native_executable
from tests.runtimes.programs import downfall, here, output, program

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
VENV = Path(sys.executable).parent


def tool(name: str) -> str:
    """The path of a program, beside this Python too; skips the test if there is none."""
    return program(name, str(VENV / name))


# --- Ansible ---


def ansible(command: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs an ansible program in a folder of its own."""
    return subprocess.run(
        [tool(command), *arguments],
        cwd=folder,
        env={
            "PATH": f"{VENV}:{os.environ['PATH']}",
            "HOME": str(folder),
            "PWD": str(folder),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "true",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_ansible_reads_the_facts(tmp_path: Path) -> None:
    """The setup module finds them as ansible_local.cpuprobe, and `when:` may use them."""
    (tmp_path / "facts.d").mkdir()
    (tmp_path / "facts.d" / "cpuprobe.fact").write_text(FORMATS["ansible"](downfall()))
    play = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable},
            "tasks": [
                {"setup": {"fact_path": str(tmp_path / "facts.d"), "gather_subset": ["local"]}},
                {
                    "assert": {
                        "that": [
                            "ansible_local.cpuprobe.level == 2",
                            "ansible_local.cpuprobe.features.sse4_1",
                            "not ansible_local.cpuprobe.features.avx2",
                            "'avx2' in ansible_local.cpuprobe.avoid",
                            "not ansible_local.cpuprobe.flags.has_avx2",
                        ]
                    }
                },
            ],
        }
    ]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    result = ansible("ansible-playbook", "-i", "localhost,", "play.yml", folder=tmp_path)

    assert result.returncode == 0, result.stdout + result.stderr
    assert "failed=0" in result.stdout


INVENTORY = """
[all]
{name} ansible_connection=local ansible_python_interpreter=/nonexistent/python
"""


def collected(folder: Path, *, name: str, native: str | None = None) -> tuple[int, str]:
    """The exit code and output of docs/examples/collect.yml, on a host that has no Python."""
    (folder / "hosts.ini").write_text(INVENTORY.format(name=name))
    extra = ["-e", f"native={native}"] if native is not None else []
    play = str(EXAMPLES / "collect.yml")
    result = ansible("ansible-playbook", "-i", "hosts.ini", play, *extra, folder=folder)
    return result.returncode, result.stdout + result.stderr


def test_the_play_collects_reports(tmp_path: Path) -> None:
    """One readable capture for each host, named after the inventory; nothing is left behind."""
    code, said = collected(tmp_path, name="rack-1/node")

    assert code == 0, said
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["rack-1_node.json"]
    observed = read_capture(tmp_path / "reports" / "rack-1_node.json")
    assert observed.executed
    assert assess(observed).features["sse2"].safe
    assert not list((tmp_path / ".ansible" / "tmp").glob("*/*"))


@pytest.mark.parametrize(
    "script", ["echo Welcome; exit 0", "exit 3", 'echo \'{"schema": "other/1"}\'']
)
def test_the_play_keeps_nothing_that_is_no_report(tmp_path: Path, script: str) -> None:
    """A host that prints a banner, fails or answers something else fails the play."""
    fake = tmp_path / "fake"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    code, said = collected(tmp_path, name="host", native=str(fake))

    assert code != 0
    assert "failed=1" in said
    assert not (tmp_path / "reports").exists()


# --- systemd ---


def write_units(folder: Path) -> list[Path]:
    """The two units, put into files by the command that they themselves name."""
    text = FORMATS["systemd"](here())
    command = re.search(r"^#   cpuprobe flags --format systemd \| (awk .*)$", text, re.MULTILINE)
    assert command is not None
    # The files are named by absolute path: below the folder here.
    awk = command[1].replace("f = $2", f'f = "{folder}" $2')
    assert awk != command[1]
    target = folder / "etc" / "systemd" / "system"
    target.mkdir(parents=True)
    subprocess.run(["sh", "-c", awk], input=text, text=True, check=True, timeout=60)
    return sorted(target.iterdir())


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say, and a bad line would be noticed."""
    analyze = program("systemd-analyze")
    paths = write_units(tmp_path)

    assert [path.name for path in paths] == ["cpuprobe-labels.service", "cpuprobe-labels.timer"]
    good = subprocess.run(
        [analyze, "verify", *map(str, paths)], capture_output=True, text=True, timeout=60
    )
    assert (good.returncode, good.stderr) == (0, "")
    paths[0].write_text(paths[0].read_text().replace("ProtectClock=yes", "ProtectClock=perhaps"))
    bad = subprocess.run([analyze, "verify", str(paths[0])], capture_output=True, timeout=60)
    assert b"perhaps" in bad.stderr


def test_systemd_rates_the_service_as_confined(tmp_path: Path) -> None:
    """Exposure at most 2 of 10 by systemd's own measure (`systemd-analyze security`)."""
    analyze = program("systemd-analyze")
    service = str(write_units(tmp_path)[0])
    result = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", "--threshold=20", service],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "unrecognized option" in result.stderr:
        pytest.skip("this systemd rates no files")
    assert result.returncode == 0, result.stdout[-400:]


def allowed_calls(analyze: str, group: str) -> set[str]:
    """The system calls of a group such as @system-service, with the groups in it."""
    calls: set[str] = set()
    for line in output([analyze, "--no-pager", "syscall-filter", group]).splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            calls |= allowed_calls(analyze, word)
        elif word and not word.startswith("#"):
            calls.add(word)
    return calls


def test_systemd_filters_no_system_call_of_the_probe() -> None:
    """All that native/ calls is in @system-service: a refused call could pass for a fault."""
    analyze = program("systemd-analyze")
    sources = [*(ROOT / "native").rglob("*.[ch]")]
    used = {name for path in sources for name in re.findall(r"\b__NR_([a-z]\w*)", path.read_text())}

    assert {"clone", "arch_prctl", "sched_setaffinity", "openat"} <= used
    assert used <= allowed_calls(analyze, "@system-service")


class Service:
    """What the service runs, in folders of a test's own."""

    FOLDERS = ("features.d", "node-exporter", "facts.d")

    def __init__(self, folder: Path) -> None:
        """Lay out the three folders; `script` is the text that /bin/sh gets from systemd."""
        text = FORMATS["systemd"](here())
        match = re.search(r"^ExecStart=/bin/sh -uc '(.*?)'$", text, re.DOTALL | re.MULTILINE)
        assert match is not None
        # systemd.unit(5): a backslash at the end of a line continues it; systemd.service(5): $$ is
        # one dollar sign.
        script = match[1].replace("\\\n", " ").replace("$$", "$")
        for name in self.FOLDERS:
            (folder / name).mkdir()
            script = re.sub(rf"/\S*{name}(?= )", str(folder / name), script)
        self.folder = folder
        self.script = script

    def run(self, *, options: str = "", before: Path = VENV) -> int:
        """Runs it with cpuprobe taken from a folder; returns the exit code."""
        environment = {"PATH": f"{before}:/usr/bin:/bin", "OPTIONS": options}
        return subprocess.run(
            ["/bin/sh", "-uc", self.script], env=environment, timeout=120
        ).returncode

    def files(self) -> list[str]:
        """What lies in the folders."""
        return sorted(
            str(path.relative_to(self.folder))
            for name in self.FOLDERS
            if (self.folder / name).is_dir()
            for path in (self.folder / name).iterdir()
        )


def test_the_service_writes_the_labels(tmp_path: Path) -> None:
    """Each file in its folder, and nothing else; OPTIONS reach cpuprobe."""
    service = Service(tmp_path)

    assert service.run(options="--without avx2 --wasmtime 48") == 0
    assert service.files() == [
        "facts.d/cpuprobe.fact",
        "features.d/cpuprobe",
        "node-exporter/cpuprobe.prom",
    ]
    facts = json.loads((tmp_path / "facts.d" / "cpuprobe.fact").read_text())
    assert facts["features"]["sse2"]
    assert not facts["features"]["avx2"]
    assert facts["wasmtime"] == "48"


def test_the_service_leaves_out_missing_folders(tmp_path: Path) -> None:
    """A host without Ansible or Kubernetes gets what it has a folder for."""
    service = Service(tmp_path)
    (tmp_path / "facts.d").rmdir()
    (tmp_path / "features.d").rmdir()

    assert service.run() == 0
    assert service.files() == ["node-exporter/cpuprobe.prom"]


def test_a_machine_that_cannot_be_measured_loses_its_labels(tmp_path: Path) -> None:
    """Where cpuprobe fails, no old label stays and no half file; the unit fails visibly."""
    service = Service(tmp_path)
    assert service.run() == 0
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "cpuprobe").write_text("#!/bin/sh\necho half\nexit 3\n")
    (broken / "cpuprobe").chmod(0o755)

    assert service.run(before=broken) == 1
    assert service.files() == []


# --- Kubernetes ---


def manifests() -> list[dict[str, Any]]:
    """The documents of docs/examples/daemonset.yaml."""
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((EXAMPLES / "daemonset.yaml").read_text()))


def pod_spec() -> dict[str, Any]:
    """The pod of the DaemonSet."""
    spec: dict[str, Any] = manifests()[1]["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("version", ["1.25", "1.32"])
def test_kubernetes_schemas_accept_the_manifest(version: str) -> None:
    """Every document is valid, no field unknown; a misspelt one would be noticed."""
    validator = pytest.importorskip("kubernetes_validate")
    documents = manifests()

    assert [document["kind"] for document in documents] == ["Namespace", "DaemonSet"]
    for document in documents:
        validator.validate(document, version, strict=True)
    documents[1]["spec"]["template"]["spec"]["automountServiceAccountTokens"] = False
    with pytest.raises(validator.ValidationError):
        validator.validate(documents[1], version, strict=True)


def test_the_manifest_hangs_together() -> None:
    """Selector, namespace, volume and mount name the same things, and the file can be executed."""
    namespace, daemonset = manifests()
    spec = pod_spec()
    (probe,) = spec["initContainers"]

    assert daemonset["metadata"]["namespace"] == namespace["metadata"]["name"]
    selector = daemonset["spec"]["selector"]["matchLabels"]
    assert selector.items() <= daemonset["spec"]["template"]["metadata"]["labels"].items()
    (volume,) = spec["volumes"]
    assert volume["configMap"] == {"name": "cpuprobe-native", "defaultMode": 0o555}
    (mount,) = probe["volumeMounts"]
    assert mount["name"] == volume["name"]
    # `kubectl create configmap --from-file=cpuprobe-native=...` makes a file of that name.
    assert probe["command"] == [f"{mount['mountPath']}/cpuprobe-native"]
    assert "--from-file=cpuprobe-native=" in (EXAMPLES / "daemonset.yaml").read_text()


def test_the_pod_meets_the_restricted_standard() -> None:
    """Pod Security Standards, "Restricted", control by control; and no CPU limit."""
    namespace, _ = manifests()
    spec = pod_spec()

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert all("hostPath" not in volume for volume in spec["volumes"])
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in (*spec["initContainers"], *spec["containers"]):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["privileged"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "cpu" not in container["resources"]["limits"]


def test_the_native_probe_fits_into_a_config_map() -> None:
    """Kubernetes takes at most 1 MiB of data in a ConfigMap, which is base64 for a binary."""
    assert os.path.getsize(native_executable()) * 4 / 3 < 1 << 20


CONTAINER = """
set -eu
root=$1
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
exec setpriv --no-new-privs -- \\
    chroot --userspec=65535:65535 --groups= "$root" /cpuprobe/cpuprobe-native
"""


def test_the_native_probe_runs_in_an_empty_container(tmp_path: Path) -> None:
    """As in the pod: nothing but the file, /proc and /sys; no user, capability or new privilege.

    One line of JSON, that sees the same CPUs and the kernel's words about them.
    """
    unshare = program("unshare")
    program("setpriv")
    if os.geteuid() != 0:
        pytest.skip("making such a root takes root")
    for name in ("proc", "sys", "cpuprobe"):
        (tmp_path / name).mkdir()
    (tmp_path / "cpuprobe" / "cpuprobe-native").write_bytes(Path(native_executable()).read_bytes())
    (tmp_path / "cpuprobe" / "cpuprobe-native").chmod(0o555)
    tmp_path.chmod(0o755)
    namespaces = [unshare, "--mount", "--pid", "--net", "--ipc", "--uts", "--fork"]
    if subprocess.run([*namespaces, "true"], capture_output=True).returncode != 0:
        pytest.skip("no namespaces here")
    text = output([*namespaces, "sh", "-c", CONTAINER, "sh", str(tmp_path)])
    outside = json.loads(output([native_executable()]))

    assert text.count("\n") == 1
    assert text.endswith("\n")
    inside = json.loads(text)["observation"]
    assert inside["executed"] is True
    for key in ("cpuinfo", "kernel"):
        assert inside[key] == outside["observation"][key]
    assert [group["cpus"] for group in inside["groups"]] == [
        group["cpus"] for group in outside["observation"]["groups"]
    ]
