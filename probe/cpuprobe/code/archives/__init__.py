"""What holds files: archives, packages, images. Read in memory, nothing is unpacked to disk.

A format is one module with a function that yields what a stream holds, and a row in `table`.
"""
