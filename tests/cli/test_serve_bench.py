"""`serve-bench` against a program that stands in for vLLM: bad input, lines, failures and ends."""

import json
import os
import signal
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tiny_plans import random_tiny_plan, tiny_model
from waiting import has_ended, wait_until

from ffbench.cli import serve_bench
from ffbench.cli.main import main
from ffbench.cli.serve_bench import parse
from ffbench.integrations.vllm import servers

# `serve` answers /health; `bench serve` writes a result whose times tell the load apart
PROGRAM = """#!{python}
import json, os, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
words = sys.argv[1:]
def value(name):
    return words[words.index(name) + 1]
with open({log!r}, "a") as log:
    log.write(json.dumps([os.getpid(), *words]) + "\\n")
if words[0] == "serve":
    if "--broken" in words:
        worker = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
        with open({log!r}, "a") as log:
            log.write(json.dumps([worker.pid, "serve"]) + "\\n")
        sys.exit("error: this server is broken")
    if "--slow" in words:
        time.sleep(60)
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.end_headers()
            if self.path == "/metrics" and "--additional-config" in words:
                Handler.asked = getattr(Handler, "asked", 0) + 1
                tokens = 100.0 * Handler.asked
                text = f"ffbench_prompt_tokens_total {{tokens}}\\n"
                text += f"ffbench_ffn_prompt_tokens_total {{tokens * 0.625}}\\n"
                self.wfile.write(text.encode())
        def log_message(self, *_): pass
    HTTPServer((value("--host"), int(value("--port"))), Handler).serve_forever()
tokens, rate = int(value("--random-input-len")), value("--request-rate")
if tokens == 13:
    sys.exit("ValueError: unlucky")
if tokens == 14:
    time.sleep(60)
result = dict(completed=4, failed=int(tokens == 15), num_prompts=4, duration=2.0)
result |= dict(request_throughput=2.0, output_throughput=32.0, total_token_throughput=tokens * 2.0)
result |= {{f"p{{p}}_ttft_ms": tokens + p for p in (50, 90, 99)}}
assert value("--percentile-metrics") == "ttft,tpot"
decoded = int(value("--random-output-len")) > 1
result |= {{f"p{{p}}_tpot_ms": p / 8 if decoded else 0 for p in (50, 90, 99)}}
with open(os.path.join(value("--result-dir"), value("--result-filename")), "w") as file:
    json.dump(result, file)
"""


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of a program that stands in for vLLM: its process and words, a line per start."""
    log, program = tmp_path / "log", tmp_path / "vllm"
    program.write_text(PROGRAM.format(python=sys.executable, log=str(log)))
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setattr(servers, "vllm_command", lambda: [str(program)])
    monkeypatch.setattr(servers, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(serve_bench, "environment_problems", list)
    random_tiny_plan(tiny_model(), selector="trained", compensator="none").save(tmp_path / "plan")
    return log


def run(tmp_path: Path, *words: str) -> int:
    return main(
        ["serve-bench", f"plan={tmp_path / 'plan'}", "model=m", f"output_dir={tmp_path}", *words]
    )


def starts(log: Path) -> list[list[Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def assert_stopped(log: Path) -> None:
    """No server and no worker of one runs."""
    for pid in (line[0] for line in starts(log) if line[1] == "serve"):
        wait_until(lambda pid=pid: has_ended(pid))


def test_dense_and_sparse_in_turn_under_the_same_load(
    tmp_path: Path, vllm: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    assert run(tmp_path, "input_tokens=16,32", "rate=0,2", "requests=4", "rounds=2") == 0
    lines = [json.loads(line) for line in (tmp_path / "serve.jsonl").read_text().splitlines()]
    loads = [(16, 0.0), (16, 2.0), (32, 0.0), (32, 2.0)]
    assert [(one["input_tokens"], one["rate"]) for one in lines] == loads * 4
    assert [one["arm"] for one in lines] == (["dense"] * 4 + ["sparse"] * 4) * 2
    assert [one["round"] for one in lines] == [0] * 8 + [1] * 8
    assert lines[2]["ttft_p50_s"] == pytest.approx(0.082)
    assert lines[2]["ttft_p99_s"] == pytest.approx(0.131)
    assert lines[2]["tpot_p50_s"] == 0.00625 and lines[2]["tpot_p99_s"] == 0.012375
    assert lines[2]["total_tokens_per_s"] == 64 and lines[2]["completed"] == 4
    assert {"cpu", "torch", "vllm", "git_sha", "command", "sparsity", "threads"} <= set(lines[0])
    assert {line["density"] for line in lines if line["arm"] == "dense"} == {None}
    assert {line["density"] for line in lines if line["arm"] == "sparse"} == {0.625}
    assert set(lines[0]["parameters"]) == {"selector", "compensator", "scheduler"}
    assert lines[0]["server_environment"]["VLLM_CPU_KVCACHE_SPACE"] == "1"
    servers_started = [line for line in starts(vllm) if line[1] == "serve"]
    with_plan = [json.dumps(line).count("ffbench_plan") for line in servers_started]
    assert with_plan == [0, 1, 0, 1]
    assert all("127.0.0.1" in line for line in servers_started)
    clients = [line for line in starts(vllm) if line[1] == "bench"]
    seeds = [line[line.index("--seed") + 1] for line in clients]
    assert seeds == ["0", "1", "2", "3"] * 4  # the same prompts for both, others for each load
    assert_stopped(vllm)
    said = capsys.readouterr().out
    assert said.count("TTFT p50") == 16 and said.count("FFN density 0.625") == 8


def test_answers_of_one_token_have_no_time_per_further_one(tmp_path: Path, vllm: Path) -> None:
    assert run(tmp_path, "requests=4", "output_tokens=1") == 0
    lines = [json.loads(line) for line in (tmp_path / "serve.jsonl").read_text().splitlines()]
    assert [line["tpot_p50_s"] for line in lines] == [None, None]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["options=--broken"], "the server ended with code 1: error: this server is broken"),
        (["options=--slow", "seconds=1"], "the server did not answer within 1 s"),
        (["input_tokens=13"], "the benchmark client failed: ValueError: unlucky"),
        (["input_tokens=14", "seconds=2"], "took more than 2 s; ask for fewer"),
        (["input_tokens=15"], "1 of 4 requests failed"),
    ],
)
def test_failures_end_in_one_line_and_leave_no_server(
    tmp_path: Path, vllm: Path, capsys: Any, words: list[str], text: str
) -> None:
    assert run(tmp_path, *words) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and text in said and said.count("\n") == 1
    assert_stopped(vllm)


def test_a_termination_ends_the_server_too(tmp_path: Path, vllm: Path) -> None:
    def terminate() -> None:
        wait_until(vllm.exists)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=terminate)
    thread.start()
    assert run(tmp_path, "options=--slow") == 130
    thread.join()
    assert_stopped(vllm)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["model=m"], "plan: missing; give plan=FOLDER"),
        (["plan=p"], "model: missing; give model=FOLDER"),
        (["plan=p", "model=m", "requests=0"], "requests: 0 is too small; choose 1 or more"),
        (["plan=p", "model=m", "requests=2000"], "requests: 2000 is too large"),
        (["plan=p", "model=m", "input_tokens=8,0"], "input_tokens: 0 is too small"),
        (["plan=p", "model=m", "rate=-1"], "rate: -1.0 is negative"),
        (["plan=p", "model=m", "rate=fast"], "rate: 'fast' is not valid"),
        (["plan=p", "model=m", "rates=1"], "rates: no such setting here; valid: plan, model"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    vllm: Path, capsys: Any, words: list[str], text: str
) -> None:
    assert main(["serve-bench", *words]) == 2
    said = capsys.readouterr().err
    assert text in said and said.count("\n") == 1
    assert not vllm.exists()


def test_all_problems_are_told_at_once(capsys: Any) -> None:
    assert main(["serve-bench", "requests=x", "rates=1"]) == 2
    assert capsys.readouterr().err.count("error: ") == 4


def test_a_plan_that_cannot_be_read_is_refused(vllm: Path, capsys: Any) -> None:
    assert main(["serve-bench", "plan=nowhere", "model=m"]) == 2
    assert "plan nowhere: cannot be read" in capsys.readouterr().err and not vllm.exists()


def test_without_vllm_it_ends_before_any_work(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(serve_bench, "find_spec", lambda name: None)
    assert main(["serve-bench", "plan=nowhere", "model=m"]) == 2
    assert capsys.readouterr().err.startswith("error: serve-bench: vLLM is not installed")


def test_values() -> None:
    request = parse(["plan=p", "model=m", "rate=[0.5,1]", "options='--dtype float32'"])
    assert request.rate == (0.5, 1.0) and request.options == ("--dtype", "float32")
