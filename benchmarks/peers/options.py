"""The options of `python -m benchmarks.peers`, and what is wrong with them."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench_lines import settings_parser

PYTHON = Path(".venv-peers") / "bin" / "python"
# peers compute in float32 on the processor, and so do we
FIXED = {"model.dtype": "float32", "model.device": "cpu"}


def parse(description: str | None, arguments: Sequence[str]) -> tuple[Namespace, list[Path]]:
    """Options, and the folders of plan=FOLDER; the other settings stay in `settings`."""
    parser = settings_parser(description, "benchmarks/results/peers.jsonl")
    parser.prog = "python -m benchmarks.peers"
    parser.add_argument("--tokens", type=int, default=2048, help="prompt length (2048)")
    parser.add_argument("--sessions", type=int, default=2, help="fresh processes (2)")
    parser.add_argument("--rounds", type=int, default=3, help="timed prompts per session (3)")
    parser.add_argument(
        "--short", type=int, default=8, help="untimed prompts of 512 tokens per session (8)"
    )
    parser.add_argument(
        "--only", default="", help="runtimes whose names contain one of these, with commas between"
    )
    parser.add_argument(
        "--python", type=Path, default=PYTHON, help="interpreter of the peers (%(default)s)"
    )
    options = parser.parse_intermixed_args(list(arguments))
    plans = [text.partition("=")[2] for text in options.settings if text.startswith("plan=")]
    options.settings = [text for text in options.settings if not text.startswith("plan=")]
    return options, [Path(plan).expanduser() for plan in plans]


def option_problems(options: Namespace, plans: Sequence[Path]) -> list[str]:
    """What is wrong with the command line."""
    problems = [
        f"--{name}: {getattr(options, name)} is too small; choose {least} or more"
        for name, least in (("tokens", 1), ("sessions", 1), ("rounds", 1), ("short", 0))
        if getattr(options, name) < least
    ]
    if not plans:
        problems.append(
            "plan: give at least one plan=FOLDER; make one with: "
            "python -m ffbench plan save FOLDER sparsity=0.5"
        )
    for text in options.settings:
        name, _, value = text.partition("=")
        if name in FIXED and value != FIXED[name]:
            problems.append(f"{name}: peers are compared at {FIXED[name]}; leave {name} out")
    return problems
