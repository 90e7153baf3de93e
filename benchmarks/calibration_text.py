"""Make a folder of calibration text that is closer to LongBench's than the embedded text is.

python benchmarks/calibration_text.py --data-dir FOLDER --out TEXT_FOLDER

The text is contexts of LongBench tasks that the LongBench table does not score, and as much source
code of the embedded calibration part; docs/experiments/calibration_text.md says what it changes.
A plan fitted on it must not be judged on those tasks: it has seen the first RECORDS contexts of
each.
"""

import argparse
import json
import sys
from itertools import islice
from pathlib import Path

from ffbench.cli.errors import guarded
from ffbench.data.embedded_text import calibration_chunks
from ffbench.data.json_lines import read_json_lines

TASKS = ("multifieldqa_en", "hotpotqa", "musique", "gov_report", "passage_count")
RECORDS = 24  # contexts per task
CHARACTERS = 8192  # kept of each context: two chunks


def contexts(data_dir: Path) -> list[str]:
    """The first RECORDS contexts of each task, or all if it has fewer, cut. Raises DataFileError
    for a file that cannot be read.
    """
    return [
        record["context"][:CHARACTERS]
        for task in TASKS
        for _, record in islice(read_json_lines(data_dir / f"{task}.jsonl"), RECORDS)
    ]


def code(characters: int) -> list[str]:
    """Chunks of source code of the calibration part, until they hold more than so many
    characters.
    """
    texts: list[str] = []
    for text in calibration_chunks("code").values():
        texts.append(text)
        if sum(map(len, texts)) > characters:
            break
    return texts


def main() -> int:
    """Write one JSON Lines file of contexts and one of code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data-dir", type=Path, required=True, help="LongBench's JSON Lines, a file per task"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the text")
    options = parser.parse_args()
    prose = contexts(options.data_dir)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, texts in (("longbench_other_tasks", prose), ("code", code(sum(map(len, prose))))):
        (options.out / f"{name}.jsonl").write_text(
            "".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8"
        )
        print(f"{name}: {len(texts)} texts, {sum(map(len, texts))} characters")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
