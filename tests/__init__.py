"""Tests of cpuprobe."""
