"""Lines of the benchmarks' JSON Lines files, and the command line that makes them."""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ffbench.cli.compose import ConfigProblems, Job, jobs_of
from ffbench.runs.provenance import cpu_name, git_state, gpu_name, masked
from ffbench.validation import problems

# a benchmark scores no tasks, measures no speed and logs to no tracker unless it is asked to
QUIET = ("task=none", "tracker=none", "speed.rounds=0")


def settings_parser(description: str | None, out: str) -> argparse.ArgumentParser:
    """A parser with --out and the SETTING=VALUE arguments of `python -m ffbench`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path(out), help="JSON Lines file (default: %(default)s)"
    )
    parser.add_argument(
        "settings", nargs="*", metavar="SETTING=VALUE", help="as in python -m ffbench"
    )
    return parser


def count(text: str) -> int:
    """A whole number above 0, for argparse. Raises ArgumentTypeError for smaller ones."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is too small; choose 1 or more")
    return number


def numbers(text: str) -> list[int]:
    """Whole numbers with commas between them, for argparse. Raises ValueError otherwise."""
    return [int(part) for part in text.split(",")]


def with_defaults(settings: Sequence[str], defaults: Sequence[str]) -> list[str]:
    """`settings` with each default whose key they do not set."""
    given = {text.partition("=")[0] for text in settings}
    return [text for text in defaults if text.partition("=")[0] not in given] + list(settings)


def single_job(settings: Sequence[str], defaults: Sequence[str] = QUIET) -> Job:
    """The one valid job that the settings make. Raises ConfigProblems otherwise."""
    jobs = jobs_of(with_defaults(settings, defaults))
    refused = [problem for job in jobs for problem in problems(job.settings)]
    if len(jobs) > 1:
        refused.append(f"the settings make {len(jobs)} plans; give one value of each setting")
    if refused:
        raise ConfigProblems(list(dict.fromkeys(refused)))
    return jobs[0]


def conditions(script: str, arguments: Sequence[str], device: str = "cpu") -> dict[str, Any]:
    """Command, commit and processor of a line; secrets and the home folder are masked.

    `script` is a file under benchmarks, or `-m MODULE`.
    """
    import torch

    sha, diff = git_state()
    place = script if script.startswith("-m ") else f"benchmarks/{script}"
    return {
        "command": " ".join(["python", place, *(shlex.quote(masked(one)) for one in arguments)]),
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "device": device,
        "gpu": gpu_name(device),
        "git_sha": sha,
        "git_dirty": None if sha is None else diff is not None,
    }


def arguments_of(arguments: Sequence[str] | None) -> list[str]:
    """The given arguments, or those of the process."""
    return sys.argv[1:] if arguments is None else list(arguments)


def keys_of(path: Path) -> set[str]:
    """The `key` of every line that a file has; empty without the file."""
    if not path.exists():
        return set()
    return {
        str(json.loads(line).get("key"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if line
    }


def append(path: Path, line: dict[str, Any]) -> None:
    """Append one line; makes the file's folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
