"""The driver of `make gpu` with commands that need no card."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from waiting import has_ended, wait_until

from benchmarks.gpu.run import Runner, last_json, run_all, timed
from benchmarks.gpu.steps import Step

STEPS = {
    "good": "print('noise'); print('{\"ratio_eager\": 1.5}'); print('more noise')",
    "bad": "import sys; print('{\"half\": 1}'); print('it broke'); sys.exit(3)",
    "slow": "import time; print('{\"early\": 1}', flush=True); open('ready', 'w'); time.sleep(600)",
}
LIMIT = 300.0  # seconds of a step; `late_when_ready` ends it sooner


def make_runner(folder: Path) -> Runner:
    for name, source in STEPS.items():
        (folder / f"{name}.py").write_text(source)
    return Runner(
        (sys.executable,), folder, folder / "out" / "gpu.jsonl", {"card": "X"}, ("torch",)
    )


def step(name: str, seconds: float = LIMIT, packages: tuple[str, ...] = ()) -> Step:
    return Step(name, name, (), seconds, packages)


@pytest.fixture
def late_when_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step's limit has passed as soon as the step has made the file `ready`."""

    class Process(subprocess.Popen):
        def wait(self, timeout: float | None = None) -> int:
            if timeout == LIMIT:
                wait_until((tmp_path / "ready").exists)
                raise subprocess.TimeoutExpired(self.args, timeout)
            return super().wait(timeout)

    monkeypatch.setattr(subprocess, "Popen", Process)


def written(runner: Runner) -> list[dict[str, Any]]:
    return [json.loads(line) for line in runner.results.read_text().splitlines()]


def test_each_result_is_on_disk_before_the_next_step_begins(tmp_path: Path) -> None:
    runner, lengths = make_runner(tmp_path), []
    run_all(
        runner,
        [step("good"), step("bad"), step("good")],
        2 * LIMIT,
        lambda number, line: lengths.append((number, len(written(runner)))),
    )
    assert lengths == [(1, 1), (2, 2), (3, 3)]
    good, bad, _ = written(runner)
    assert good["status"] == "ok" and good["result"] == {"ratio_eager": 1.5}
    assert good["card"] == "X" and good["command"] == ["python", "-m", "good"]
    assert "output_end" not in good
    assert bad["status"] == "failed" and bad["exit_code"] == 3 and bad["result"] == {"half": 1}
    assert bad["output_end"].endswith("it broke\n")


@pytest.mark.usefixtures("late_when_ready")
def test_a_step_past_its_limit_is_ended_and_keeps_its_result(tmp_path: Path) -> None:
    line = make_runner(tmp_path).run(step("slow", LIMIT), LIMIT)
    assert line["status"] == "timeout" and line["exit_code"] is None
    assert line["result"] == {"early": 1}


@pytest.mark.parametrize(
    ("device", "status"), [("cpu", "failed"), ("cuda:0", "ok"), ("Card X", "ok")]
)
def test_a_time_of_the_cpu_is_never_taken_for_the_cards(
    device: str, status: str, tmp_path: Path
) -> None:
    runner = make_runner(tmp_path)
    (tmp_path / "timing.py").write_text(f"""print('{{"device": "{device}"}}')""")
    line = runner.run(step("timing"), 60)
    assert line["status"] == status and ("reason" in line) == (status == "failed")


@pytest.mark.usefixtures("late_when_ready")
def test_a_step_that_ignores_the_first_signal_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.gpu.run.GRACE", 0.3)
    ignoring = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    (tmp_path / "stubborn.py").write_text(
        ignoring + "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'child'])\n"
    )
    (tmp_path / "child.py").write_text(
        ignoring + "import os\nopen('child', 'w').write(str(os.getpid()))\n" + STEPS["slow"]
    )
    line = timed([sys.executable, "-m", "stubborn"], LIMIT, tmp_path)
    assert line["status"] == "timeout"
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: has_ended(child))


def test_steps_that_cannot_run_say_why(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    todo = [step("good", packages=("torch", "triton", "hydra")), step("ffkernels.nothing_here")]
    lines = run_all(runner, todo, 60, lambda number, line: None)
    assert [line["status"] for line in lines] == ["skipped", "skipped"]
    assert lines[0]["reason"] == "this environment lacks triton, hydra"
    assert lines[1]["reason"] == "ffkernels.nothing_here is not part of this version"


def test_later_steps_use_the_file_that_a_step_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FFKERNELS_TILES", raising=False)
    runner = make_runner(tmp_path)
    show = "import json, os; print(json.dumps({'tiles': os.environ.get('FFKERNELS_TILES')}))"
    (tmp_path / "show.py").write_text(show)
    (tmp_path / "search.py").write_text("open('tiles.jsonl', 'w').write('x')\nraise SystemExit(1)")
    (tmp_path / "nothing.py").write_text("")
    old = tmp_path / "old.jsonl"
    old.write_text("an earlier run's")
    os.utime(old, (1e9, 1e9))

    def search(module: str, file: str) -> Step:
        return Step(module, module, (), 20, (), (("FFKERNELS_TILES", Path(file)),))

    todo = [search("nothing", "old.jsonl"), step("show"), search("search", "tiles.jsonl")]
    lines = run_all(runner, [*todo, step("show")], 60, lambda number, line: None)
    assert lines[1]["result"] == {"tiles": None} and "variables" not in lines[1]
    assert lines[3]["result"] == {"tiles": "tiles.jsonl"}  # also of a search that was cut short
    assert written(runner)[3]["variables"] == {"FFKERNELS_TILES": "tiles.jsonl"}

    monkeypatch.setenv("FFKERNELS_TILES", "mine.jsonl")
    runner = make_runner(tmp_path)
    lines = run_all(runner, [todo[2], step("show")], 60, lambda number, line: None)
    assert lines[1]["result"] == {"tiles": "mine.jsonl"}


def test_when_the_time_is_used_up_the_rest_is_skipped(tmp_path: Path) -> None:
    lines = run_all(make_runner(tmp_path), [step("good")] * 2, 1.0, lambda number, line: None)
    assert [(line["status"], line["reason"]) for line in lines] == [("skipped", "no time left")] * 2


def test_the_time_left_limits_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []
    monkeypatch.setattr(
        "benchmarks.gpu.run.timed",
        lambda command, limit, *_: limits.append(limit) or {"status": "ok", "seconds": 0.0},
    )
    runner = make_runner(tmp_path)
    runner.run(step("good", 30), 12.0)
    runner.run(step("good", 30), 90.0)
    assert limits == [12.0, 30]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("no\n{broken\n", None),
        ('{"a": 1}\n{"b": 2}\ntail', {"b": 2}),
        ('{"a": 1}\n{broken', {"a": 1}),
    ],
)
def test_last_json(text: str, expected: dict[str, int] | None) -> None:
    assert last_json(text) == expected


def test_a_killed_driver_keeps_its_results_and_ends_its_step(tmp_path: Path) -> None:
    make_runner(tmp_path)
    (tmp_path / "slow.py").write_text(
        "import os\nopen('pid','w').write(str(os.getpid()))\n" + STEPS["slow"]
    )
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import argparse, sys\n"
        "from pathlib import Path\n"
        "from benchmarks.gpu import command_line\n"
        "from benchmarks.gpu.card import Environment\n"
        "from benchmarks.gpu.steps import Step\n"
        "folder = Path(sys.argv[1])\n"
        "command_line.ROOT = folder\n"
        "todo = [Step('good', 'good', (), 300, ()), Step('slow', 'slow', (), 300, ())]\n"
        "options = argparse.Namespace(quick=True, minutes=None)\n"
        "seen = Environment(python='3', packages=(), card='X')\n"
        "sys.exit(command_line.measure(options, folder, seen, todo, (sys.executable,)))\n"
    )
    root = Path(__file__).resolve().parents[3]
    process = subprocess.Popen(
        [sys.executable, str(driver), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(root)},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until((tmp_path / "ready").exists)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors.startswith("interrupted; what was measured is in ")
    lines = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == ["environment", "good"]
    assert has_ended(int((tmp_path / "pid").read_text()))
