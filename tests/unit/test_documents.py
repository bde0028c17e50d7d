"""Generated pages are current, and reports validate against the published schema."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import msgspec
import pytest
from tests.fakes import V3, gds_machine, group, observation
from tests.tools.documents import DOCS, documents

from cpuprobe.assessment import assess
from cpuprobe.facts.tables import load_table
from cpuprobe.report.document import make_report, to_json

ROOT = Path(__file__).parents[2]


PAGES = documents()


@pytest.mark.parametrize("path", sorted(PAGES), ids=lambda path: path.name)
def test_generated_pages_are_current(path):
    """`make gen` was run after the last change of a table or a type."""
    assert path.read_bytes() == PAGES[path], "run `make gen`"


@pytest.mark.parametrize(
    "machine", [gds_machine(), observation(group(V3), listed=V3)], ids=["gds", "v3"]
)
def test_reports_validate(machine):
    """Every report validates against docs/report.schema.json."""
    document = json.loads(to_json(make_report(machine, assess(machine))))

    schema = json.loads((DOCS / "report.schema.json").read_bytes())
    jsonschema.validate(document, schema)
    document["assessment"]["verdict"] = "perhaps"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


def test_every_code_used_is_in_the_table_and_back():
    """No finding without words, no words without a finding."""
    source = "".join(
        path.read_text() for path in (ROOT / "probe/cpuprobe/assessment").rglob("*.py")
    )
    used = set(re.findall(r'"(CP\d{3})"', source))

    assert used == {row["code"] for row in load_table("findings")["finding"]}


def test_severities_are_the_contracts():
    """Code and severity of DESIGN section 6, written out."""
    assert {row["code"]: row["severity"] for row in load_table("findings")["finding"]} == {
        "CP101": "error",
        "CP102": "error",
        "CP103": "info",
        "CP104": "warning",
        "CP105": "error",
        "CP201": "error",
        "CP202": "error",
        "CP203": "info",
        "CP204": "error",
        "CP301": "error",
        "CP401": "warning",
        "CP402": "info",
        "CP403": "info",
        "CP501": "error",
        "CP502": "warning",
        "CP503": "info",
        "CP504": "info",
        "CP601": "info",
        "CP602": "error",
    }


def test_errors_have_words_for_laymen():
    """Each error row has the sentence of the verdict line, which fits 100 columns."""
    for row in load_table("findings")["finding"]:
        assert ("plain" in row) is (row["severity"] == "error"), row["code"]
        line = f"MISMATCH: {row.get('plain', '').replace('{features}', 'avx512vpopcntdq')}"
        assert len(line) <= 85, row["code"]  # room for "(and 2 more)"


def test_every_module_of_the_package_is_listed_for_installation():
    """pyproject.toml names every package folder: a forgotten one would miss in the wheel."""
    listed = re.findall(r'"(cpuprobe[\w.]*)"', (ROOT / "pyproject.toml").read_text())
    folders = {
        str(path.parent.relative_to(ROOT / "probe")).replace("/", ".")
        for path in (ROOT / "probe/cpuprobe").rglob("__init__.py")
    }

    assert folders <= set(listed)


def test_versions_agree():
    """One version everywhere."""
    from cpuprobe import __version__
    from cpuprobe.version import VERSION

    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert f'CPUPROBE_VERSION "{__version__}"' in (ROOT / "native/words.h").read_text()
    assert __version__ == VERSION


def test_sample_reports_stay_readable():
    """Reports that were once published are read for ever."""
    from cpuprobe.evidence.machines import read_capture

    samples = sorted((ROOT / "tests/data/reports").glob("*.json"))
    assert samples
    for path in samples:
        expected = json.loads(path.read_bytes())["assessment"]
        assessed = json.loads(msgspec.json.encode(assess(read_capture(path))))
        for name, feature in expected["features"].items():
            assert assessed["features"][name]["state"] == feature["state"], (path, name)
        assert {finding["code"] for finding in expected["findings"]} <= {
            finding["code"] for finding in assessed["findings"]
        }
