"""`python -m cpuprobe`."""

from cpuprobe.cli import main

if __name__ == "__main__":
    main()
