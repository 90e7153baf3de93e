"""What a plan's card says: where the plan comes from, and what its run measured."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ffbench.experiment import identity
from ffbench.runs.provenance import git_state, masked, package_versions
from ffbench.settings import RunSettings

PACKAGES = ("ffbench", "torch", "transformers")
TAILS = {"answer_kl": "continuation", "copy_kl": "copy", "question_kl": "question"}


def made_card(settings: RunSettings, dtype: str) -> dict[str, Any]:
    """Model, text, objective, versions, commit and command of a plan that was just made.

    A local folder is named without its path, and the command without secrets and home folder.
    """
    s, versions = settings, package_versions()
    local = s.model.source == "folder"
    return {
        "model": s.model.name,
        "source": s.model.source,
        "location": Path(s.model.location).name if local else s.model.location,
        "revision": identity.model_spec(s).revision,
        "dtype": dtype,
        "calibration_text": identity.calibration_name(s),
        "calibration_tokens": s.calibration.tokens,
        "objective": s.objective.weights(),
        "versions": {name: versions[name] for name in PACKAGES if name in versions},
        "git_sha": git_state()[0],
        "command": command_text(sys.argv),
    }


def command_text(arguments: Sequence[str]) -> str:
    """The command line that a reader can type: the program is `python -m ffbench`."""
    return " ".join(["python -m ffbench", *(shlex.quote(masked(word)) for word in arguments[1:])])


def measured_card(fidelity: dict[str, Any] | None, speed: dict[str, Any] | None) -> dict[str, Any]:
    """KL by tail and speed of a run's result, without what was not measured."""
    card: dict[str, Any] = {}
    tails = (fidelity or {}).get("tails") or {}
    for name, tail in TAILS.items():
        if tail in tails:
            row = tails[tail]
            card[name] = {
                "kl": row["kl"],
                "low": row["kl_low"],
                "high": row["kl_high"],
                "n": row["n"],
            }
    if speed:
        card["speed"] = speed_card(speed, speed["ttft"])
    return card


def speed_card(conditions: dict[str, Any], ttft: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Speedups by prompt length with their brackets, and where they were measured."""
    processes = ttft[0].get("processes", 1)
    bracket = (
        f"lowest to highest of {processes} processes"
        if processes > 1
        else "p20 to p80 of paired rounds in one process"
    )
    where = f"{conditions['cpu']}, {conditions['threads']} threads, {conditions['backend']} kernel"
    return {
        "where": f"{bracket}; {where}",
        "busy": bool(conditions.get("busy")),
        "ttft": [
            {
                "tokens": row["tokens"],
                "ratio": row["ratio"],
                "low": row["p20"],
                "high": row["p80"],
            }
            for row in ttft
        ],
    }
