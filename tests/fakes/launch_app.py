"""A run in small behind the launchers of conf/launcher: one shared stage, answers one by one, a result."""

import os
import time
from pathlib import Path

import hydra

from ffbench.runs.cache import StageCache
from ffbench.runs.identity import content_key
from ffbench.runs.store import RunStore


@hydra.main(version_base="1.3", config_path=".", config_name="launch_app")
def main(config) -> None:
    """Do one job; its run key depends on the job's number alone."""
    output, pause = Path(config.output_dir), float(config.pause)

    def shared(folder: Path) -> None:
        descriptor = os.open(output / "made.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, b"made\n")
        os.close(descriptor)
        time.sleep(0.5)
        (folder / "x").write_text("1")

    run = RunStore(output).folder(content_key({"job": int(config.job)}))
    if not run.start({"job": int(config.job)}, {"command": []}):
        return
    StageCache(output).get_or_make("collect", "shared", shared)
    for record in range(len(run.answers()), int(config.answers)):
        time.sleep(pause)
        run.append_answer({"task": "t", "record_id": record, "process": os.getpid()})
    run.finish({"job": int(config.job), "answers": [a["record_id"] for a in run.answers()]})


if __name__ == "__main__":
    main()
