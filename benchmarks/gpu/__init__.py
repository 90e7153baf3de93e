"""What a CUDA card gives, in one command: `make gpu`.

The driver needs only the standard library. Each step runs in a process of its own with a time
limit, and its result is appended to a file as soon as it ends.
"""
