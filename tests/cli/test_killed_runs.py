"""Real runs of the tiny model, killed at random moments in every stage and started again."""

import json
import os
import subprocess
import sys
from pathlib import Path

KILLS = 50  # docs/reliability.md has a longer trial
NURSERY = Path(__file__).resolve().parents[1] / "support" / "kill_nursery.py"
STAGES = {
    "answers",
    "fit",
    "token_mixing",
    "sensitivity",
    "teacher",
    "tune",
    "dense_tails",
    "selection",
    "fidelity",
    "speed",
    "evaluate",
}


def test_killed_runs_give_the_uninterrupted_results(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(NURSERY), str(tmp_path), str(KILLS), "11"],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    kills = report["kills"]
    assert sum(kills.values()) >= KILLS and set(kills) >= STAGES, kills
    assert report["different"] == [] and report["left"] == []
    for again, killed in report["repeated"]:
        assert again <= killed, f"{again} answers computed again after {killed} kills"
