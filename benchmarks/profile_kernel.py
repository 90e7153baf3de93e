"""Where the native kernel spends its time: shares of its functions in sparse calls, measured by
Linux perf.

python benchmarks/profile_kernel.py --dtype f32 --block 128
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
from ffkernels import bench_cases
torch.set_num_threads(1); torch.set_flush_denormal(True)
with torch.no_grad():
    sets = bench_cases.random_sets({shape!r}, 1024, {block}, {group}, 0.5, 0.0, 0)
    case = bench_cases.Case(sets, bench_cases.DTYPES[{dtype!r}], 1024)
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
    """Print one line a function of the native library; 2 where perf is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="llama3.2-1b")
    parser.add_argument("--dtype", default="f32", choices=("f32", "bf16", "f16"))
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--group", type=int, default=1)
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
