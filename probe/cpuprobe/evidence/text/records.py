"""Logs whose every line is a JSON object: Docker's files, `journalctl -o json`, log shippers."""

from __future__ import annotations

import msgspec

from cpuprobe.evidence.text.lines import MAXIMUM_PASTE

_TEXT = ("log", "MESSAGE", "message", "msg")
_FEWEST = 3


def opened_records(text: str) -> str:
    """The lines that such a log holds, in its order; any other text as it is.

    A record is its line and plain values beside it: who wrote it, where and when. What has values
    inside values is data of its own and stays.
    """
    if len(text) > MAXIMUM_PASTE or not text.lstrip().startswith("{"):
        return text
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) < _FEWEST:
        return text
    opened = []
    for line in lines:
        told = _line_of(line)
        if told is None:
            return text
        opened.append(told.rstrip("\n"))
    return "\n".join(opened)


def _line_of(line: str) -> str | None:
    if not line.lstrip().startswith("{") or not any(f'"{key}"' in line for key in _TEXT):
        return None
    try:
        record = msgspec.json.decode(line.encode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return None
    if any(isinstance(value, (dict, list)) for value in record.values()):
        return None
    return next((record[key] for key in _TEXT if isinstance(record.get(key), str)), None)
