"""Time to first token of the same weights in other runtimes, beside ours: `make peers`, then
`python -m benchmarks.peers plan=FOLDER`.
"""
