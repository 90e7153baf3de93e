"""Make a folder of calibration text nearer to LongBench's than the embedded text is
(docs/accuracy.md).

python benchmarks/calibration_text.py --data-dir FOLDER --out own_text

Contexts of LongBench tasks that the LongBench table does not score, and as much of the standard
library's calibration part.
"""

import argparse
import json
from pathlib import Path

from ffbench.data.embedded_text import documents

TASKS = ("multifieldqa_en", "hotpotqa", "musique", "gov_report", "passage_count")
RECORDS = 24
CHARACTERS = 8192


def contexts(data_dir: Path) -> list[str]:
    """The first RECORDS contexts of each task, or all where it has fewer, cut."""
    found = []
    for task in TASKS:
        lines = (data_dir / f"{task}.jsonl").read_text().split("\n")[:RECORDS]
        found += [json.loads(line)["context"][:CHARACTERS] for line in lines if line]
    return found


def code(characters: int) -> list[str]:
    """Source files of the calibration part, cut, until they hold more than so many characters."""
    found: list[str] = []
    for text in documents("code", "calibration").values():
        found.append(text[:CHARACTERS])
        if sum(map(len, found)) > characters:
            break
    return found


def main() -> None:
    """Write one JSON Lines file of contexts and one of code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data-dir", type=Path, required=True, help="LongBench's JSON Lines, a file a task"
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    prose = contexts(options.data_dir)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, texts in (("longbench_other_tasks", prose), ("code", code(sum(map(len, prose))))):
        (options.out / f"{name}.jsonl").write_text(
            "".join(json.dumps({"text": text}) + "\n" for text in texts)
        )
        print(f"{name}: {len(texts)} texts, {sum(map(len, texts))} characters")


if __name__ == "__main__":
    main()
