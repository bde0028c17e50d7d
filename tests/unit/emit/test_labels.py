"""Labels for fleets: each is read back by the rules, or the parser, of those who keep it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fakes import V2, V3, gds_machine, group, observation

from cpuprobe.assessment import assess
from cpuprobe.cli import run
from cpuprobe.emit import FORMATS, FlagSet, choose, choose_alone
from cpuprobe.emit.labels import LABELS
from cpuprobe.errors import UsageError
from cpuprobe.evidence.machines import read_capture
from cpuprobe.facts.features import load_features
from cpuprobe.facts.profiles import find_profile
from cpuprobe.facts.wasmtime import lookup

CAPTURES = Path(__file__).parents[2] / "data" / "captures"
PAGE = Path(__file__).parents[3] / "docs" / "fleet.md"

# Kubernetes, "Labels and Selectors": a DNS subdomain, a slash, a name; and the value.
PREFIX = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NAME = re.compile(r"(?=.{1,63}$)[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


def gds() -> FlagSet:
    """A machine that claims AVX, F16C, FMA and AVX2 and can use none of them: level 2."""
    return choose([assess(gds_machine(), "50")])


def v3() -> FlagSet:
    return choose([assess(observation(group(V3), listed=V3), "50")])


def labels_in(text: str) -> dict[str, str]:
    """A feature file read as NFD's local source does (source/local/local.go), without expiry."""
    assert len(text.encode()) <= 65536
    found: dict[str, str] = {}
    for line in text.split("\n"):
        assert not line.startswith("# +"), "a directive"
        if line.strip() and not line.startswith("#"):
            key, equals, value = line.strip().partition("=")
            assert key not in found
            found[key] = value if equals else "true"
    return found


def short(labels: dict[str, str]) -> dict[str, str]:
    """The labels without the namespace, all being in NFD's own."""
    namespaces = {key.partition("/")[0] for key in labels}
    assert namespaces == {"cpuprobe.feature.node.kubernetes.io"}
    return {key.partition("/")[2]: value for key, value in labels.items()}


def samples_in(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """The samples by metric and label values, by Prometheus's own parser."""
    parser = pytest.importorskip("prometheus_client.parser")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.type == "gauge", family.name
        assert family.documentation, family.name
        assert family.name not in found
        found[family.name] = {}
        for sample in family.samples:
            assert sample.timestamp is None
            key = tuple(sample.labels.values())
            assert key not in found[family.name]
            found[family.name][key] = sample.value
    return found


# --- Node Feature Discovery ---


def test_nfd_labels_say_what_is_safe():
    """Level, features and flags that are safe are there; what faults has no label at all."""
    labels = short(labels_in(FORMATS["nfd"](gds())))

    assert labels["level"] == "2"
    assert labels["x86-64-v2"] == "true"
    assert "x86-64-v3" not in labels
    assert labels["sse4.2"] == labels["has_sse42"] == "true"
    assert labels["wasmtime"] == "50"
    assert labels["basis"] == "executed"
    assert not {"avx", "has_avx", "avx2", "has_avx2", "f16c", "fma", "has_bmi1"} & set(labels)


def test_nfd_levels_are_cumulative():
    """A node of level 3 carries the labels of 1, 2 and 3: a nodeSelector knows no "at least"."""
    labels = short(labels_in(FORMATS["nfd"](v3())))

    assert labels["level"] == "3"
    assert {name for name in labels if name.startswith("x86-64-v")} == {
        "x86-64-v1",
        "x86-64-v2",
        "x86-64-v3",
    }


def test_nfd_labels_are_valid_for_every_feature_there_is():
    """Kubernetes takes each key and value, if a machine had all features of the table."""
    has = list(load_features())
    machine = observation(group(has, xcr0=0x602E7 | 1 << 19), listed=has)
    labels = labels_in(FORMATS["nfd"](choose([assess(machine, "50")])))

    assert len(labels) > 80
    for key, value in labels.items():
        prefix, _, name = key.partition("/")
        assert PREFIX.fullmatch(prefix), key
        assert NAME.fullmatch(name), key
        assert NAME.fullmatch(value), key


@given(version=st.text(max_size=100), flag=st.text(max_size=100))
@example(version="5" * 64, flag="f" * 64)
def test_nfd_takes_no_hostile_words(version, flag):
    """A capture brings its wasmtime version and flag names: neither can forge a line or a level."""
    flags = msgspec.structs.replace(
        gds(), wasmtime=version, values={flag: True, "level": True, f"has_{flag}": True}
    )
    text = FORMATS["nfd"](flags)

    labels = short(labels_in(text))
    assert labels["level"] == "2"
    for name, value in labels.items():
        assert NAME.fullmatch(name), name
        assert not value or NAME.fullmatch(value), name
    assert set(labels) - set(load_features()) - {f"has_{flag}", flag} == {
        "basis",
        "wasmtime",
        "level",
        "x86-64-v1",
        "x86-64-v2",
    }


def test_a_machine_below_v1_has_no_level():
    """No label, not the label 0; Prometheus and Ansible need a number and get 0."""
    flags = msgspec.structs.replace(gds(), features=dict.fromkeys(load_features(), False))

    assert "level" not in short(labels_in(FORMATS["nfd"](flags)))
    assert samples_in(FORMATS["prometheus"](flags))["cpuprobe_level"] == {(): 0.0}
    assert json.loads(FORMATS["ansible"](flags))["level"] == 0


# --- Prometheus ---


def test_prometheus_parses_it():
    """Every family has HELP and TYPE; every feature and flag has a sample, 1 or 0."""
    flags = gds()
    text = FORMATS["prometheus"](flags)
    found = samples_in(text)

    assert text.endswith("\n")
    assert found["cpuprobe_info"] == {("executed", "50"): 1.0}
    assert found["cpuprobe_level"] == {(): 2.0}
    assert found["cpuprobe_machines"] == {(): 1.0}
    assert set(found["cpuprobe_feature_safe"]) == {(name,) for name in load_features()}
    assert found["cpuprobe_feature_safe"]["sse4.1",] == 1.0
    assert found["cpuprobe_feature_safe"]["avx2",] == 0.0
    avoided = {name for (name,), value in found["cpuprobe_feature_avoid"].items() if value}
    assert {"avx", "avx2", "f16c", "fma"} <= avoided
    assert "sse2" not in avoided
    assert "avx512f" not in avoided  # CPUID does not claim it
    assert found["cpuprobe_flag_safe"]["has_avx", "50"] == 0.0
    assert found["cpuprobe_flag_safe"]["has_sse41", "50"] == 1.0


def test_prometheus_comments_stand_before_their_samples():
    """The text format wants HELP and TYPE before the first sample, each once."""
    seen: list[str] = []
    for line in FORMATS["prometheus"](gds()).splitlines():
        words = line.split(" ")
        if words[:2] == ["#", "TYPE"]:
            assert seen[-1] == f"HELP {words[2]}"
            seen.append(words[2])
        elif words[0] == "#":
            assert words[1] == "HELP"
            assert f"HELP {words[2]}" not in seen
            seen.append(f"HELP {words[2]}")
        else:
            assert re.split(r"[ {]", line)[0] == seen[-1]


@pytest.mark.parametrize("version", ['5"0', "5\\0", "5\n0", '\\n"} 1\ncpuprobe_level 4\n#'])
def test_prometheus_values_are_escaped(version):
    """A version from a hostile capture stays inside its quotes."""
    found = samples_in(FORMATS["prometheus"](msgspec.structs.replace(gds(), wasmtime=version)))

    assert found["cpuprobe_info"] == {("executed", version): 1.0}
    assert found["cpuprobe_level"] == {(): 2.0}


# --- Ansible ---


def test_ansible_facts_are_reached_with_dots():
    """Jinja reads each feature as an attribute, also sse4.1 and 3dnow."""
    jinja2 = pytest.importorskip("jinja2")
    facts = json.loads(FORMATS["ansible"](gds()))
    features = facts["features"]

    assert len(features) == len(load_features())
    assert all(name.isidentifier() and not hasattr({}, name) for name in features)
    assert all(name.isidentifier() and not hasattr({}, name) for name in facts)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    template = (
        "{{ c.level }} {{ c.basis }} {{ c.features.sse4_1 }} {{ c.features._3dnow }} "
        "{{ c.features.avx2 }} {{ c.flags.has_sse41 }} {{ 'avx2' in c.avoid }} {{ c.wasmtime }}"
    )
    assert environment.from_string(template).render(c=facts) == (
        "2 executed True False False True True 50"
    )


# --- OCI ---


def test_oci_annotations_of_a_profile():
    """The platform's variant is the level; nothing beyond it is needed."""
    flags = choose_alone([find_profile("x86-64-v2")], lookup("50"))
    annotations = json.loads(FORMATS["oci"](flags))

    assert annotations["alt.cpuprobe.platform"] == "linux/amd64/v2"
    assert annotations["alt.cpuprobe.level"] == "x86-64-v2"
    assert annotations["alt.cpuprobe.features"] == ""
    assert annotations["alt.cpuprobe.wasmtime"] == "50"
    on = annotations["alt.cpuprobe.wasmtime.flags"].split(",")
    assert {flag for flag, value in flags.values.items() if value} == set(on)
    for key, value in annotations.items():
        assert re.fullmatch(r"[a-z]+(\.[a-z]+)+", key)
        assert not key.startswith("org.opencontainers")
        assert isinstance(value, str)


def test_oci_features_beyond_the_level():
    """AVX2 without BMI is level 2 and more: an image that uses it needs more than the variant."""
    has = (*V2, "xsave", "avx", "avx2")
    machine = observation(group(has), listed=has)
    annotations = json.loads(FORMATS["oci"](choose([assess(machine, "50")])))

    assert annotations["alt.cpuprobe.platform"] == "linux/amd64/v2"
    assert annotations["alt.cpuprobe.features"] == "xsave,avx,avx2"


def test_oci_names_no_variant_for_the_base():
    """v1 is linux/amd64: containerd drops the variant (platforms, normalizeArch)."""
    flags = choose_alone([find_profile("x86-64-v1")], lookup("50"))

    assert json.loads(FORMATS["oci"](flags))["alt.cpuprobe.platform"] == "linux/amd64"


def test_oci_hints_are_no_need():
    """What is harmless where it is missing keeps no image from running."""
    table = load_features()
    has = list(table)
    machine = observation(group(has, xcr0=0x602E7 | 1 << 19), listed=has)
    flags = choose([assess(machine, "50")])
    needs = json.loads(FORMATS["oci"](flags))["alt.cpuprobe.features"].split(",")

    assert {"aes", "sha"} <= set(needs)
    assert not [name for name in needs if table[name].hint or table[name].privileged]


# --- systemd ---


def units() -> dict[str, str]:
    """The two units by path: each begins at the comment that names its file."""
    parts = re.split(r"^# (/etc/systemd/system/\S+)$", FORMATS["systemd"](v3()), flags=re.MULTILINE)
    assert parts[0] == ""
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_systemd_units_belong_together():
    """The timer starts the service of its name; every folder written is one that may be written."""
    assert list(units()) == [
        "/etc/systemd/system/cpuprobe-labels.service",
        "/etc/systemd/system/cpuprobe-labels.timer",
    ]
    service, timer = units().values()
    puts = re.findall(r"^  put (\w+) (/\S+) (\S+); \\$", service, re.MULTILINE)

    assert [dialect for dialect, _, _ in puts] == ["nfd", "prometheus", "ansible"]
    assert re.findall(r"^ReadWritePaths=-(\S+)$", service, re.MULTILINE) == [
        folder for _, folder, _ in puts
    ]
    # node_exporter reads *.prom only, Ansible *.fact only, NFD all but dot files.
    assert [name for _, _, name in puts] == ["cpuprobe", "cpuprobe.prom", "cpuprobe.fact"]
    assert 'new="$$2/.cpuprobe.new"' in service
    assert "OnCalendar=daily" in timer
    assert "WantedBy=timers.target" in timer


def test_systemd_units_do_not_hide_what_the_probe_reads():
    """ProcSubset=pid hides /proc/cpuinfo; a mask of CPUs leaves some unasked."""
    service, _ = units().values()
    settings = dict(
        line.split("=", 1) for line in service.splitlines() if re.match(r"[A-Z]\w+=", line)
    )

    assert not {"ProcSubset", "CPUAffinity", "AllowedCPUs", "PrivateUsers"} & set(settings)
    assert settings["ProtectSystem"] == "strict"
    assert settings["ProtectHome"] != "yes"  # cpuprobe may be installed there
    assert settings["CapabilityBoundingSet"] == "CAP_DAC_OVERRIDE"


# --- all of them ---


def test_every_label_is_a_format():
    assert set(LABELS) == {"nfd", "prometheus", "ansible", "systemd", "oci"}
    assert set(LABELS) <= set(FORMATS)


def test_the_page_names_formats_and_metrics():
    """docs/fleet.md has a row for each format and each metric, with its labels."""
    page = PAGE.read_text()
    rows = re.findall(r"^\| `(\w+)(\{[\w,]+\})?` \|", page, re.MULTILINE)
    text = FORMATS["prometheus"](gds())
    names = re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)

    assert [name for name, _ in rows] == [*LABELS, *names]
    for name, labels in rows[len(LABELS) :]:
        sample = re.search(rf"^{name}(\{{.*\}})? ", text, re.MULTILINE)
        assert sample is not None
        keys = re.findall(r"(\w+)=", sample[1] or "")
        assert keys == re.findall(r"\w+", labels), name


@pytest.mark.parametrize("dialect", sorted(LABELS))
def test_only_off_is_refused(dialect):
    """A label says what may be used: a list of what may not would be read the wrong way round."""
    flags = choose([assess(gds_machine(), "50")], only_off=True)

    with pytest.raises(UsageError, match=rf"^--format {dialect}\b"):
        FORMATS[dialect](flags)


@pytest.mark.parametrize("dialect", ["nfd", "prometheus", "ansible", "systemd"])
def test_no_machine_no_label(dialect):
    """A profile alone says nothing of the machine that would be labelled."""
    flags = choose_alone([find_profile("x86-64-v3")], lookup("50"))

    with pytest.raises(UsageError, match=rf"^--format {dialect}\b"):
        FORMATS[dialect](flags)


@pytest.mark.parametrize(
    "options", [{"profiles": [find_profile("x86-64-v2")]}, {"without": ["avx512"]}]
)
def test_systemd_does_not_lose_an_option(options):
    """The units measure anew: a --profile or --without given here would be forgotten."""
    flags = choose([assess(gds_machine(), "50")], **options)

    with pytest.raises(UsageError, match="OPTIONS="):
        FORMATS["systemd"](flags)


@pytest.mark.parametrize("dialect", ["nfd", "prometheus", "ansible"])
def test_a_capture_without_execution_says_so(dialect):
    """Labels that rest on CPUID alone are marked as such."""
    flags = choose([assess(read_capture(CAPTURES / "aida64-zen4-raphael.txt"), "50")])
    text = FORMATS[dialect](flags)

    assert "cpuid" in text
    assert "executed" not in text.replace("instructions that were executed", "")


def test_a_feature_given_up_has_no_label(capfd):
    """--without and --from work for labels as for flags."""
    path = str(CAPTURES / "aida64-zen4-raphael.txt")
    arguments = ["flags", "--from", path, "--wasmtime", "50", "--format", "nfd"]

    assert run(arguments) == 0
    whole = short(labels_in(capfd.readouterr().out))
    assert run([*arguments, "--without", "avx512"]) == 0
    rest = short(labels_in(capfd.readouterr().out))
    assert whole["level"] == "4"
    assert rest["level"] == "3"
    assert "avx512f" in whole
    assert not [name for name in rest if "avx512" in name]
    assert rest["avx2"] == "true"


def test_the_error_is_one_line(capfd):
    """Exit code 2, nothing on standard output."""
    code = run(["flags", "--profile", "x86-64-v2", "--alone", "--format", "nfd"])

    out, err = capfd.readouterr()
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "--alone" in err
