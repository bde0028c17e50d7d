"""The version of cpuprobe, known without reading metadata."""

from __future__ import annotations

VERSION = "0.2.0"
