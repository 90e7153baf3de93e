"""`python -m ffkernels.bench`."""

import json
import sys

import torch

from ffkernels.bench import options
from ffkernels.bench.cases import CaseError
from ffkernels.bench.measure import measure
from ffkernels.bench.report import describe, rounded
from ffkernels.host_memory import keep_freed_memory


def main(argv: list[str] | None = None) -> int:
    """Print the result as text unless --json, then as JSON; 2 if the plan cannot be used."""
    a = options.parse(argv)
    keep_freed_memory()
    try:
        with torch.no_grad():
            result = measure(a)
    except CaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not a.json:
        print(describe(result) + "\n")
    line = json.dumps(rounded(result))
    if a.output_dir:
        a.output_dir.mkdir(parents=True, exist_ok=True)
        with (a.output_dir / "kernels.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
