"""A sweep from Python: `python examples/sweep.py model=smollm2_135m sparsity=0,0.3,0.5`."""

import sys

import ffbench


def main(settings: list[str]) -> None:
    """Print the runs of some settings, finished ones included."""
    frame = ffbench.run("tracker=none", *settings)
    columns = ["sparsity", "kl_continuation", "kl_copy", "ttft_speedup", "run_key"]
    print(frame[columns].to_string(index=False))


if __name__ == "__main__":
    main(sys.argv[1:])
