"""What a CUDA card gives, in one command: `make gpu`.

The driver needs only the standard library. Each step runs in a process of its own with a limit in
time, and its result is appended to a file as soon as it ends.
"""
