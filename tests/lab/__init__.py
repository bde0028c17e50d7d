"""The lab: CPU models nobody here owns, and real kernels that take instructions away.

`docs/lab.md` says what it is for and how to add a world; `python -m tests.lab` runs it.
"""
