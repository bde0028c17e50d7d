"""The words of causes: rows of profiles/findings.toml, `[[cause]]` and `[[set_aside]]`.

Which of them it is, each instruction set decides: causes_x86_64.py, causes_aarch64.py.
"""

from __future__ import annotations

from cpuprobe.assessment.ground import Cause
from cpuprobe.assessment.model import SetAside
from cpuprobe.facts.tables import load_table


def cause(identifier: str, **values: str) -> Cause:
    """The words of a cause, with values filled in."""
    row = next(row for row in load_table("findings")["cause"] if row["id"] == identifier)
    text, remedy = row["text"], row["remedy"]
    for key, value in values.items():
        text, remedy = text.replace(f"{{{key}}}", value), remedy.replace(f"{{{key}}}", value)
    return Cause(text, remedy, identifier)


def set_aside(reason: SetAside, **values: str) -> str:
    """The words for why the kernel witness is set aside, with values filled in."""
    row = next(row for row in load_table("findings")["set_aside"] if row["id"] == reason)
    text: str = row["text"]
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", value)
    return text
