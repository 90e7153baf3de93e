"""A vLLM server on this machine, and vLLM's own benchmark client against it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
POLL_SECONDS, STOP_SECONDS = 1.0, 30.0
PERCENTILES = (50, 90, 99)
TIMES = ("ttft", "tpot")  # to the first token, and per further token of an answer
ERROR_LINES = 5
COMPUTED, PROMPT_TOKENS = "ffbench_ffn_prompt_tokens_total", "ffbench_prompt_tokens_total"
VARIABLES = "VLLM_CPU_"  # what vLLM's CPU servers are set with beside their options


class ServingError(RuntimeError):
    """A server did not start, or its benchmark did not end; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """One measurement: `requests` prompts of `input_tokens` random tokens, `rate` a second on
    average (0: all at once), each answered with `output_tokens`, in `seconds` at most.
    """

    input_tokens: int
    rate: float
    requests: int
    output_tokens: int
    seconds: float
    seed: int


@dataclass(frozen=True)
class PromptCounts:
    """Prompt tokens that a server with a plan ran, and their sum of computed shares of the FFN."""

    tokens: float = 0.0
    computed: float = 0.0


def vllm_command() -> list[str]:
    """The words that run vLLM's command line in this environment."""
    return [sys.executable, "-m", "ffbench.integrations.vllm.command"]


def free_port() -> int:
    """A port that no process listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def server_words(model: str, port: int, plan: Path | None, options: Sequence[str]) -> list[str]:
    """The command line of a server, with a plan or without.

    Without the prefix cache: the client's warm-up sends a prompt that it then measures.
    """
    words = [*vllm_command(), "serve", model, "--host", HOST, "--port", str(port)]
    words += ["--no-enable-prefix-caching", *options]
    if plan is None:
        return words
    return [*words, "--additional-config", json.dumps({"ffbench_plan": str(plan.absolute())})]


def client_words(model: str, port: int, load: Load, result: Path) -> list[str]:
    """The command line of the benchmark client."""
    return [
        *(*vllm_command(), "bench", "serve", "--model", model),
        *("--base-url", f"http://{HOST}:{port}", "--endpoint", "/v1/completions"),
        *("--dataset-name", "random", "--random-input-len", str(load.input_tokens)),
        *("--random-output-len", str(load.output_tokens), "--ignore-eos"),
        *("--num-prompts", str(load.requests), "--seed", str(load.seed)),
        *("--request-rate", str(load.rate) if load.rate else "inf", "--disable-tqdm"),
        *("--num-warmups", "1"),
        *("--percentile-metrics", ",".join(TIMES)),
        *("--metric-percentiles", ",".join(map(str, PERCENTILES))),
        *("--save-result", "--result-dir", str(result.parent), "--result-filename", result.name),
    ]


def tail(path: Path) -> str:
    """What a log says about its end: the last line that names an error, else the last lines."""
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return " ".join(errors[-1:] or lines[-ERROR_LINES:]) or "it printed nothing"


@contextmanager
def server(words: Sequence[str], port: int, log: Path, seconds: float) -> Iterator[None]:
    """A server that answers, stopped afterwards with its workers; its output goes to `log`.

    Raises ServingError if it ends or does not answer within `seconds`.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until_ready(process, port, log, seconds)
        yield
    finally:
        stop(process)


def wait_until_ready(
    process: subprocess.Popen[bytes], port: int, log: Path, seconds: float
) -> None:
    """Return when the server answers. Raises ServingError as `server` does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise ServingError(f"the server ended with code {process.returncode}: {tail(log)}")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=POLL_SECONDS):
                return
        except OSError:  # no answer yet, or an answer that names an error
            time.sleep(POLL_SECONDS)
    raise ServingError(f"the server did not answer within {seconds:.0f} s; see {log}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server in order, and by force if that takes too long; its workers too, which outlive a
    server that died.
    """
    if process.poll() is None:
        process.terminate()  # scripts start commands in the background with SIGINT ignored
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):  # nothing of it is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def measured(model: str, port: int, load: Load, result: Path) -> dict[str, Any]:
    """What the client measured. Raises ServingError if it fails or takes too long."""
    words = client_words(model, port, load, result)
    result.unlink(missing_ok=True)
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=load.seconds, start_new_session=True
        )
    except subprocess.TimeoutExpired as error:
        raise ServingError(
            f"{load.requests} requests of {load.input_tokens} tokens took more than "
            f"{load.seconds:.0f} s; ask for fewer, or give seconds=N"
        ) from error
    if done.returncode or not result.exists():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ServingError(f"the benchmark client failed: {lines[-1] if lines else 'no message'}")
    return metrics_of(json.loads(result.read_bytes()))


def density_since(earlier: PromptCounts, later: PromptCounts) -> float | None:
    """Share of the FFN's neurons computed for the prompts between two counts; None without any."""
    tokens = later.tokens - earlier.tokens
    return (later.computed - earlier.computed) / tokens if tokens > 0 else None


def prompt_counts(port: int) -> PromptCounts:
    """What a server's /metrics says about its prompts; zeros if it does not count them.

    Raises ServingError if it does not answer.
    """
    try:
        address = f"http://{HOST}:{port}/metrics"
        with urllib.request.urlopen(address, timeout=STOP_SECONDS) as answer:
            text = answer.read().decode()
    except OSError as error:
        raise ServingError(f"the server does not answer /metrics: {error}") from error
    values = dict(re.findall(r"^(ffbench_\w+) (\S+)$", text, re.MULTILINE))
    return PromptCounts(float(values.get(PROMPT_TOKENS, 0)), float(values.get(COMPUTED, 0)))


def server_environment() -> dict[str, str]:
    """The variables of this process that change how vLLM's CPU servers run."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)}


def metrics_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Our fields of the client's result: seconds for times, tokens and requests a second.

    Answers of one token have no time per further one, for which the client writes 0.
    Raises ServingError if a request failed: percentiles of the others would look too good.
    """
    if result.get("failed"):
        raise ServingError(f"{result['failed']} of {result['num_prompts']} requests failed")
    times = {
        f"{name}_p{p}_s": result[f"p{p}_{name}_ms"] / 1000 or None
        for name in TIMES
        for p in PERCENTILES
    }
    return times | {
        "completed": result["completed"],
        "duration_s": result["duration"],
        "requests_per_s": result["request_throughput"],
        "output_tokens_per_s": result["output_throughput"],
        "total_tokens_per_s": result["total_token_throughput"],
    }
