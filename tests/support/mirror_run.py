"""A run in small for the tests: `mirror_run.py OUTPUT_DIR RUN_KEY [fail=1] [wait=FILE]`."""

import sys
from pathlib import Path

from waiting import wait_until

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
        {"model": {"name": "tiny"}, "sparsity": None},
        {"git_sha": "abc", "command": ["x"]},
    )
    tracker = open_tracker(TrackerSettings(timeout=3.0), key, run.config(), run.path)
    tracker.log({"progress": 0.5})
    if settings.get("fail") == "1":
        run.fail("RuntimeError: asked to fail")
        tracker.finish("failed")
        sys.exit(1)
    if "wait" in settings:
        Path(output, "ready").touch()
        wait_until(Path(settings["wait"]).exists)
    run.answer_log.append({"task": "lcc", "record_id": 0, "score": 1.0})
    (run.path / "plan").mkdir(exist_ok=True)
    (run.path / "plan" / "plan.json").write_text("{}")
    run.finish(
        {"run_key": key, "fidelity": {"mean": {"kl": 0.25}}, "tasks": {"lcc": {"score": 50.0}}}
    )
    mirror(tracker, run)
    tracker.finish("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
