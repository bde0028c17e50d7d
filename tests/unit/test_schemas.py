"""What every command prints with --json validates against the schema that is published for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.tools.documents import DOCS
from tests.tools.schemas import KINDS

from cpuprobe.cli import run
from cpuprobe.cli.app import COMMANDS

ROOT = Path(__file__).parents[2]
GDS = "docs/examples/gds.json"
ZEN = "tests/data/reports/zen4-kvm-guest.json"
APP = "docs/examples/app"
WAT = "probe/cpuprobe/wasm/modules/integer.wat"

REPORT = DOCS / "report.schema.json"
SAID = [
    ("report", ["--json"]),
    ("report", ["inspect", GDS, "--json"]),
    ("report", ["inspect", "tests/data/captures/gds-skylake-lscpu.txt", "--json"]),
    ("report", ["report", "--on", ZEN, "--format", "json"]),
    ("diff", ["diff", GDS, ZEN, "--json"]),
    ("diff", ["diff", GDS, GDS, "--json"]),
    ("explain", ["explain", "--core", f"{APP}.core", "--on", GDS, "--json"]),
    ("explain", ["explain", "tests/data/crash/dmesg-6.18.txt", "--json"]),
    ("flags", ["flags", "--on", GDS, "--format", "json"]),
    ("check", ["check", APP, "--on", GDS, "--json"]),
    ("check", ["check", "/bin/true", "--against", "x86-64-v4", "--json"]),
    ("check-diff", ["check", APP, "--diff", APP, "--json"]),
    ("fleet", ["fleet", "tests/data/reports", "--json"]),
    ("profile-list", ["profile", "list", "--json"]),
    ("profile-show", ["profile", "show", "alderlake-n", "--json"]),
    ("profile-check", ["profile", "check", "x86-64-v3", "rhel-9", "--on", GDS, "--json"]),
    ("profile-cost", ["profile", "cost", "x86-64-v3", "--json"]),
    ("profile-lint", ["profile", "lint", "--no-presets", "--json"]),
]
LONG = [
    ("profile-lint", ["profile", "lint", "--json"]),
    ("fleet-ingest", ["fleet", "ingest", "tests/data/reports", "-o", "TABLES", "--json"]),
    ("verify-module", ["verify", "--module", WAT, "--json"]),
]
# Held to their schemas where they run anyway: tests/unit/wasm/test_bench.py and test_verify.py.
SLOW = {"bench", "verify"}
# These have no --json: they print a script, a line, a path, and the module's own output.
WITHOUT = {"completion", "key", "native", "run"}


def against(name: str, document: Any) -> None:
    """Validates a document, and that it would not with another kind of value in it."""
    path = REPORT if name == "report" else DOCS / "schemas" / f"{name}.schema.json"
    validator = jsonschema.Draft202012Validator(json.loads(path.read_bytes()))
    validator.validate(document)
    key, value = next(each for each in document.items() if each[1] is not None)
    spoilt = {**document, key: {"x": 1} if isinstance(value, str | int) else 1.5}
    assert not validator.is_valid(spoilt)


def validate(name, arguments, capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    words = [str(tmp_path / each) if each == "TABLES" else each for each in arguments]
    assert run(words) in (0, 1)
    against(name, json.loads(capfd.readouterr().out))


@pytest.mark.parametrize(("name", "arguments"), SAID, ids=lambda each: str(each)[-60:])
def test_a_document_is_as_its_schema_says(name, arguments, capfd, monkeypatch, tmp_path):
    """And no longer if a value becomes one of another kind."""
    validate(name, arguments, capfd, monkeypatch, tmp_path)


@pytest.mark.parametrize(("name", "arguments"), LONG, ids=lambda each: str(each)[-60:])
def test_a_document_that_takes_long(name, arguments, capfd, monkeypatch, tmp_path):
    """Likewise, of what runs wasmtime or writes tables."""
    validate(name, arguments, capfd, monkeypatch, tmp_path)


def test_every_command_and_every_schema_is_tried():
    """A new command with --json has a schema, and a schema a command."""
    tried = [*SAID, *LONG]

    assert {words[0] for _, words in tried} - {"--json"} == set(COMMANDS) - WITHOUT - {"bench"}
    assert {name for name, _ in tried} - {"report"} == set(KINDS) - SLOW
