"""What projects take from this one: workflows, the issue form, the action and its script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCHEMAS = {
    "vendor.github-workflows": sorted(ROOT.glob(".github/workflows/*.yml")),
    "vendor.github-issue-forms": [ROOT / ".github/ISSUE_TEMPLATE/report.yml"],
    "vendor.github-issue-config": [ROOT / ".github/ISSUE_TEMPLATE/config.yml"],
    "vendor.github-actions": [ROOT / "action.yml"],
}

CAPTURE = (
    "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) N95\nflags\t\t: fpu de tsc "
    "msr cx8 cmov mmx fxsr sse sse2 syscall nx lm pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm\n"
)


@pytest.mark.parametrize("name", SCHEMAS)
def test_files_obey_githubs_schemas(name):
    """Workflows, forms and the action are valid by the schemas of schemastore.org."""
    pytest.importorskip("check_jsonschema")
    files = SCHEMAS[name]
    assert files
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", name, *map(str, files)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_text_from_outside_is_part_of_a_command():
    """In `run:` lines stand no expressions: what an issue says reaches a shell as a variable."""
    for path in (*SCHEMAS["vendor.github-workflows"], ROOT / "action.yml"):
        for line in path.read_text().splitlines():
            if re.match(r"\s*(- )?run:", line):
                assert "${{" not in line, (path, line)


def action(tmp_path: Path, **inputs: str) -> tuple[int, str, str]:
    """The action's script as a runner calls it: exit code, standard output, what it summed up."""
    names = ("CHECK", "AGAINST", "ALLOW", "EXCLUDE", "SARIF", "ASSESS")
    done = subprocess.run(
        ["bash", str(ROOT / ".github/action.sh")],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={
            **os.environ,
            **{name: inputs.get(name, "") for name in names},
            "CPUPROBE": str(Path(sys.executable).with_name("cpuprobe")),
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        },
    )
    summary = tmp_path / "summary"
    return done.returncode, done.stdout, summary.read_text() if summary.exists() else done.stderr


def test_the_action_assesses_a_text(tmp_path):
    """A stranger's text becomes Markdown, whatever it holds; none of it is executed or markup."""
    hostile = "```\n$(touch ran) `touch ran`\n" + "`" * 30 + "\n<script>\n" + CAPTURE
    code, _, summary = action(tmp_path, ASSESS=hostile)

    assert code == 0
    assert "Intel(R) N95" in summary and "### cpuprobe inspect" in summary
    assert not (tmp_path / "ran").exists()
    assert summary.count("`" * 10) == 2
    assert "code=0" in (tmp_path / "output").read_text()


def test_the_action_says_that_a_text_is_no_capture(tmp_path):
    """Exit code 4 is an answer about the text, not a failure of the job."""
    code, _, summary = action(tmp_path, ASSESS="please help, it crashes")

    assert code == 0 and "code=4" in (tmp_path / "output").read_text()
    assert summary.strip()


def test_the_action_checks_files(tmp_path):
    """Files that fit end well; a name that is an option is a name; nothing given is an error."""
    binary = Path(sys.executable).resolve()
    code, _, summary = action(tmp_path, CHECK=f"{binary}\n", AGAINST="x86-64-v4")
    assert code == 0 and "check --against x86-64-v4" in summary
    assert action(tmp_path, CHECK="--version", AGAINST="x86-64-v2")[0] == 4
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "a.zip").write_bytes(b"PK\3\4")
    code, said, _ = action(tmp_path, CHECK=".", AGAINST="x86-64-v2", EXCLUDE="\n*.zip\n")
    assert code == 4 and "1 file excluded by *.zip" in said
    assert action(tmp_path)[0] == 2


def test_setting_up_leaves_standard_output_alone():
    """`make run ARGS=--json > FILE` in a fresh clone leaves a document in FILE."""
    recipes = re.findall(r"(?m)^\$\(BIN\)/\.\w+:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text())
    lines = "".join(recipes).splitlines()

    assert len(recipes) == 2
    assert [line for line in lines if not line.startswith("\t@")] == []
    assert [line for line in lines if "echo" in line and not line.endswith(">&2")] == []
