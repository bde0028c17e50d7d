"""Programs for those who work on cpuprobe; none of them is installed."""
