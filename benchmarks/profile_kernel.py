"""Share of each function of the native kernel in the time of sparse calls, by Linux perf.

python benchmarks/profile_kernel.py --dtype float32 --block-size 128
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WORK = """
import torch
from ffkernels.bench import cases
torch.set_num_threads(1); torch.set_flush_denormal(True)
with torch.no_grad():
    sets = cases.random_sets(
        {shape!r}, tokens=1024, block_size={block_size}, group_size={group_size}, sparsity=0.5,
        hot_fraction=0.0, seed=0,
    )
    case = cases.Case(sets, cases.DTYPES[{dtype!r}], 1024)
    for _ in range({calls}):
        case.sparse("native")
"""


def report(data: str, *options: str) -> str:
    """Output of perf report."""
    return subprocess.run(
        ["perf", "report", "-i", data, "--stdio", *options],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def main() -> int:
    """Print one line per function of the native library; 2 if perf is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="llama3.2-1b")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--block-size", type=int, default=128)
    parser.add_argument("--group-size", type=int, default=1)
    parser.add_argument("--calls", type=int, default=12)
    options = parser.parse_args()
    if not shutil.which("perf"):
        print(
            "error: perf is not installed; on Debian: apt-get install linux-perf", file=sys.stderr
        )
        return 2
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "perf.data")
        subprocess.run(
            ["perf", "record", "-o", data, sys.executable, "-c", WORK.format(**vars(options))],
            check=True,
            capture_output=True,
        )
        library = re.search(r"ffkernels-\w+\.so", report(data, "--sort", "dso"))
        if not library:
            print(
                "error: the native library was not called; see ffkernels.available_backends()",
                file=sys.stderr,
            )
            return 2
        shares = report(data, "--percentage", "relative", "--dsos", library[0], "--sort", "symbol")
    for share, name in re.findall(r"^\s+(\d+\.\d+)%\s+\[\.\]\s+(.*?)\s+-", shares, re.MULTILINE):
        if float(share) >= 0.1:
            print(f"{float(share):5.1f}%  {name.replace('(anonymous namespace)::', '')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
