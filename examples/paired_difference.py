"""Two runs on the same windows: `python examples/paired_difference.py RUN_A RUN_B [OUTPUT_DIR]`."""

import sys

from ffanalysis import load


def main(first: str, second: str, output_dir: str = "outputs") -> None:
    """Print the mean difference of KL per tail; pairs are windows of one document."""
    rows = load.windows(output_dir, [first, second])
    pairs = ["text", "document", "context", "tail"]
    wide = rows.pivot_table(index=pairs, columns="run_key", values="kl")
    difference = (wide[second] - wide[first]).dropna()
    print(difference.groupby("tail").agg(["mean", "min", "max", "count"]).to_string())


if __name__ == "__main__":
    main(*sys.argv[1:])
