"""What names a measurement of the peers: a hash of all that changes its times."""

import json
import subprocess
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.arms import Arm
from ffbench.experiment import identity
from ffbench.methods.plan import SparsePlan
from ffbench.methods.plan_files import TENSORS
from ffbench.runs.identity import content_key, file_hash
from ffbench.runs.provenance import cpu_name
from ffbench.settings import RunSettings

PACKAGES = ("openvino-genai", "llama-cpp-python")
VERSIONS = (
    "import importlib.metadata as m, json, sys\n"
    "have = {d.metadata['Name'].lower().replace('_', '-'): d.version for d in m.distributions()}\n"
    "print(json.dumps({name: have.get(name) for name in sys.argv[1:]}))"
)


def versions(python: Path) -> dict[str, str | None]:
    """Version of each peer's package, None if it is not installed."""
    try:
        done = subprocess.run(
            [str(python), "-c", VERSIONS, *PACKAGES], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return dict.fromkeys(PACKAGES)
    return dict(json.loads(done.stdout))


def plan_contents(folder: Path, plan: SparsePlan) -> dict[str, Any]:
    """What a saved plan computes: settings, neurons per layer and the hash of its tensors. Its card
    does not count.
    """
    return {
        "settings": plan.settings.as_dict(),
        "layers": [[layer.kept, layer.hot] for layer in plan.layers],
        "min_tokens": plan.min_tokens,
        "tensors": file_hash(folder / TENSORS),
    }


def key_of_run(
    options: Namespace,
    settings: RunSettings,
    plans: Sequence[dict[str, Any]],
    arms: Sequence[Arm],
    threads: int,
) -> str:
    """The key of all sessions; `plans` are contents as `plan_contents` has them."""
    return content_key(
        {
            "model": identity.fingerprint(settings),
            "arms": [[arm.name, arm.precision, arm.weights] for arm in arms],
            "plans": list(plans),
            "tokens": options.tokens,
            "rounds": options.rounds,
            "short": options.short,
            "threads": threads,
            "versions": versions(options.python),
            "cpu": cpu_name(),
        }
    )


def keys_of_sessions(run_key: str, sessions: int, arms: Sequence[Arm]) -> list[dict[str, str]]:
    """For each session the key of each runtime's line."""
    return [
        {arm.name: content_key({"run": run_key, "session": k, "peer": arm.name}) for arm in arms}
        for k in range(sessions)
    ]
