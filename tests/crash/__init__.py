"""Tests of `cpuprobe explain` on real crashes, and on damaged records of crashes."""
