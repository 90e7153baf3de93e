"""A run in small for the tests: `mirror_run.py OUTPUT_DIR RUN_KEY [moment of a server fault]
name=value ...`."""

import os
import sys
import time
from pathlib import Path

from ffbench.runs.store import RunStore
from ffbench.tracking.base import TrackerSettings
from ffbench.tracking.mirror import mirror
from ffbench.tracking.open import open_tracker


def main(output: str, key: str, *words: str) -> None:
    """Write a run folder and mirror it; `fail=1` ends with an error, `wait=FILE` waits for a file
    first."""
    settings = dict(word.split("=", 1) for word in words)
    run = RunStore(output).folder(key)
    run.start(
        {"model": {"name": "tiny"}, "sparsity": settings.get("sparsity")},
        {"git_sha": "abc", "command": ["x"]},
    )
    begin = time.perf_counter()
    tracker = open_tracker(TrackerSettings(timeout=3.0), key, run.config(), run.path)
    tracker.log({"progress": 0.5})
    if settings.get("fail") == "1":
        run.fail("RuntimeError: asked to fail")
        tracker.finish("failed")
        sys.exit(1)
    if "wait" in settings:
        Path(output, "ready").touch()
        while not Path(settings["wait"]).exists():
            time.sleep(0.02)
    run.answer_log.append({"task": "lcc", "record_id": 0, "score": 1.0})
    (run.path / "plan").mkdir(exist_ok=True)
    (run.path / "plan" / "plan.json").write_text("{}")
    run.finish(
        {"run_key": key, "fidelity": {"mean": {"kl": 0.25}}, "tasks": {"lcc": {"score": 50.0}}}
    )
    mirror(tracker, run)
    tracker.finish("done")
    print(f"mirror seconds {time.perf_counter() - begin:.2f}", flush=True)


if __name__ == "__main__":
    key = os.environ.get("FAKE_RUN_KEY", sys.argv[2])
    main(sys.argv[1], key, *sys.argv[3:])
