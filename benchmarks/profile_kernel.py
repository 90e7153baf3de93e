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

from bench_lines import count

from ffbench.cli.errors import guarded, refuse

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


class PerfError(RuntimeError):
    """perf failed; the text is its last line."""


def perf(*arguments: str) -> str:
    """Output of a perf command. Raises PerfError if it fails, as it does without permission."""
    done = subprocess.run(["perf", *arguments], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise PerfError(f"perf {arguments[0]} ended with code {done.returncode}: {last}")
    return done.stdout


def shares_of(words: str) -> str | None:
    """What perf reports of the native library's functions in a Python program; None if it never
    ran.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "perf.data")
        perf("record", "-o", data, sys.executable, "-c", words)
        report = ("report", "-i", data, "--stdio")
        library = re.search(r"ffkernels-\w+\.so", perf(*report, "--sort", "dso"))
        if not library:
            return None
        relative = ("--percentage", "relative", "--dsos", library[0], "--sort", "symbol")
        return perf(*report, *relative)


def main() -> int:
    """Print one line per function of the native library; 2 if perf or the library is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="llama3.2-1b")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--block-size", type=count, default=128)
    parser.add_argument("--group-size", type=count, default=1)
    parser.add_argument("--calls", type=count, default=12)
    options = parser.parse_args()
    if not shutil.which("perf"):
        return refuse(["perf is not installed; on Debian: apt-get install linux-perf"])
    try:
        shares = shares_of(WORK.format(**vars(options)))
    except PerfError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if shares is None:
        return refuse(["the native library was not called; see ffkernels.available_backends()"])
    for share, name in re.findall(r"^\s+(\d+\.\d+)%\s+\[\.\]\s+(.*?)\s+-", shares, re.MULTILINE):
        if float(share) >= 0.1:
            print(f"{float(share):5.1f}%  {name.replace('(anonymous namespace)::', '')}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
