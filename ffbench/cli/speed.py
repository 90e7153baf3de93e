"""`python -m ffbench speed`: time to first token, dense against sparse, in one process."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffbench.cli.compose import Job, jobs_of
from ffbench.cli.errors import DONE, refuse
from ffbench.cli.options import Parser, expanded
from ffbench.cli.preflight import job_problems, unavailable
from ffbench.runs.files import disk_errors, make_folder
from ffbench.runs.progress import log_line

if TYPE_CHECKING:
    from ffbench.methods.plan import SparsePlan

HELP = """Time dense and sparse prefill in turn, selector and compensator included.

python -m ffbench speed model=smollm2_135m kernel=native speed.lengths=[512,2048] kernel.threads=1
python -m ffbench speed shape=llama3.2-1b model.dtype=bfloat16 speed.lengths=[512,2048,8192]
python -m ffbench speed plan=FOLDER model=smollm2_135m

SETTINGS are those of a run (`python -m ffbench --help`); several values of one give a line each.
shape=NAME takes random weights at a published model's shape instead of model=; shape=config.json at
any model's shape (above 4 billion parameters its first 4 layers). plan=FOLDER times a saved plan
and writes its break-even length into it: shorter prompts then run dense. Without it the plan has
the settings' sizes and random contents, which costs the same time. Every line is appended
to speed.jsonl in output_dir."""


SHAPE_DTYPE = "bfloat16"  # in which the published shapes' weights are stored


@dataclass(frozen=True)
class Request:
    """The command line: `shape` and `plan` if given, the overrides, and whether only JSON is
    wanted.
    """

    shape: str | None
    plan: Path | None
    overrides: list[str]
    json: bool
    final_layer: bool = False
    compiled: bool = False


def parse(arguments: list[str]) -> Request:
    """Split the command line; --shape NAME and --plan FOLDER are the same as shape=NAME and
    plan=FOLDER.
    """
    parser = Parser("speed", HELP, settings=True)
    parser.add_argument(
        "--shape", metavar="NAME", help="random weights at this shape, or a config.json"
    )
    parser.add_argument("--plan", metavar="FOLDER", help="a saved plan")
    parser.add_argument(
        "--final-layer",
        action="store_true",
        help="also time both sides by the final-layer rule (docs/measuring.md)",
    )
    parser.add_argument(
        "--compiled",
        action="store_true",
        help="also time the dense model by torch.compile (minutes to compile)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON lines only")
    options = parser.parse(arguments)
    own = {"shape": options.shape, "plan": options.plan}
    for text in options.settings:
        name, _, value = text.partition("=")
        if name in own:
            own[name] = value
    plan = Path(expanded(own["plan"])) if own["plan"] is not None else None
    overrides = [text for text in options.settings if text.partition("=")[0] not in own]
    chosen = (options.json, options.final_layer, options.compiled)
    return Request(own["shape"], plan, overrides, *chosen)


def jobs_and_problems(request: Request) -> tuple[list[Job], list[str]]:
    """The jobs and everything that is wrong with them, before any weights are made."""
    from ffbench.methods.selectors import SELECTORS
    from ffbench.methods.token_rules import TOKEN_RULES
    from ffbench.models.errors import ModelError
    from ffbench.models.shapes import shape_config

    problems = []
    if request.shape is not None:
        try:
            shape_config(request.shape)
        except ModelError as error:
            problems.append(str(error))
    if request.shape is not None and request.plan is not None:
        problems.append("plan: a saved plan belongs to its model; give model= instead of shape=")
    jobs = jobs_of(request.overrides)
    for problem in job_problems(jobs):
        names = [job.settings.model.name for job in jobs if unavailable(job.settings) == problem]
        problems.append(problem + (shape_hint(names[0]) if names else ""))
    for s in (job.settings for job in jobs):
        if s.dense:
            problems.append("sparsity: 0 is the dense model; choose a value between 0 and 1")
        if s.speed.rounds == 0:
            problems.append("speed.rounds: 0 is too small; choose 1 or more")
        name = s.selector.get("name")
        if name in TOKEN_RULES:
            problems.append(
                f"selector: {name!r} works token by token, so its time means nothing; choose "
                f"{', '.join(SELECTORS)}"
            )
    return jobs, problems


def shape_hint(model: str) -> str:
    """What to measure in place of a model that cannot be had, if its shape is known."""
    from ffbench.models.shapes import shape_of

    near = shape_of(model)
    if near is None:
        return ""
    return f"; shape={near} in place of model= times the same shape with random weights"


def prepared(request: Request, job: Job) -> tuple[Any, Any, dict[str, Any]]:
    """Model, plan, and what they are. Raises ModelError or PlanError if one cannot be loaded."""
    from ffbench.experiment import identity as keys
    from ffbench.methods.plan import SparsePlan
    from ffbench.models.device import resolve_device, resolve_dtype
    from ffbench.models.loading import ModelError, load_model
    from ffbench.models.random_models import build_shape, random_plan
    from ffbench.models.shapes import shown_name
    from ffkernels.host_memory import keep_freed_memory

    keep_freed_memory()
    s = job.settings
    plan = None if request.plan is None else SparsePlan.load(request.plan, keys.fingerprint(s))
    if request.shape is not None:
        device = resolve_device(keys.model_spec(s).device)
        dtype = resolve_dtype(s.model.dtype, device, SHAPE_DTYPE)
        model = build_shape(request.shape, dtype, device=device)
        facts = {"shape": shown_name(request.shape), "weights": "random"}
    else:
        try:
            model = load_model(keys.model_spec(s))[0]
        except ModelError as error:
            raise ModelError(f"{error}{shape_hint(s.model.name)}") from error
        facts = {
            "shape": s.model.name,
            "weights": "random" if s.model.source == "tiny" else "loaded",
        }
    facts["plan"] = request.plan.name if request.plan else "random"
    return model, plan or random_plan(model, keys.plan_settings(s)), facts


def plan_fields(plan: "SparsePlan") -> dict[str, Any]:
    """What a line says about the plan."""
    from ffbench.methods.flops import flops_of

    p = plan.settings
    return {
        "layers": len(plan.layers),
        **p.method_fields(),
        "sparsity": p.sparsity,
        "block_size": p.block_size,
        "blocks": p.blocks,
        "group_size": p.group_size,
        "hot_fraction": p.hot_fraction,
        "flops_ratio": flops_of(plan).ratio,
    }


def measure(request: Request, job: Job) -> dict[str, Any]:
    """One line of speed.jsonl (docs/result-schema.md). Raises ModelError or PlanError as `prepared`
    does.
    """
    import torch

    from ffbench.evaluation.machine_state import machine_state
    from ffbench.evaluation.speed import break_even, prefill_times
    from ffbench.experiment.plan_cards import command_text, speed_card
    from ffbench.methods.plan_files import save_header
    from ffbench.models.device import start_line
    from ffbench.models.kernel_names import kernel_name
    from ffbench.runs.provenance import cpu_name, git_state
    from ffkernels.bench import machine

    model, plan, facts = prepared(request, job)
    s, p = job.settings, plan.settings
    even = p.block_size if p.scheduler.per_block is None else None
    weight = model.get_input_embeddings().weight
    backend = kernel_name(s.kernel.backend, weight, even)
    log_line(start_line(model.device, model.dtype, backend))
    threads = s.kernel.threads or torch.get_num_threads()
    before = os.getloadavg()[0]
    times = prefill_times(
        model,
        plan,
        s.speed.lengths,
        s.speed.rounds,
        threads,
        s.kernel.backend,
        final_layer=request.final_layer,
        compile_dense=request.compiled,
    )
    state = machine_state(before, threads)
    ttft = [one.metrics(one.prefill) for one in times]
    least = break_even(ttft)
    if request.plan:
        plan.min_tokens = least if least is not None else max(s.speed.lengths) + 1
        where = {"cpu": cpu_name(), "threads": threads, "backend": backend} | state
        plan.card["speed"] = speed_card(where, ttft)
        save_header(plan, request.plan)
    return facts | {
        "dtype": str(model.dtype).removeprefix("torch."),
        **plan_fields(plan),
        "rounds": s.speed.rounds,
        "threads": threads,
        "backend": backend,
        "ffn": [one.metrics(one.ffn) for one in times],
        "ttft": ttft,
        "final_layer": [one.final_layer() for one in times] if request.final_layer else None,
        "break_even_tokens": least,
        "baselines": [one.baseline_metrics() for one in times],
        "peak_bytes": [one.peak_bytes for one in times] if model.device.type == "cuda" else None,
        **machine.card_facts(model.device),
        **state,
        "cpu": cpu_name(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "git_sha": git_state()[0],
        "command": command_text(sys.argv),
    }


def describe(line: dict[str, Any]) -> str:
    """One measurement for a reader."""
    rows = "any rows" if line["group_size"] == 1 else f"groups of {line['group_size']}"
    text = [
        (
            f"{line['shape']} ({line['weights']} weights, {line['layers']} layers), "
            f"{line['dtype']}, sparsity {line['sparsity']}, block {line['block_size']}, {rows}, "
            f"hot {line['hot_fraction']}, {line['selector']} + {line['compensator']}, "
            f"plan {line['plan']}, backend {line['backend']}, {line['threads']} thread(s), "
            f"{line['cpu']}"
        ),
        "tokens   FFN speedup (p20 to p80)   TTFT speedup (p20 to p80)    dense s   sparse s",
    ]
    for ffn, ttft in zip(line["ffn"], line["ttft"], strict=True):
        text.append(
            f"{ttft['tokens']:6}   {ffn['ratio']:.3f} ({ffn['p20']:.3f} to {ffn['p80']:.3f})     "
            f"{ttft['ratio']:.3f} ({ttft['p20']:.3f} to {ttft['p80']:.3f})     "
            f"{ttft['dense_s']:8.3f}  {ttft['sparse_s']:8.3f}"
        )
    for final in line["final_layer"] or []:
        text.append(
            f"{final['tokens']:6} tokens, both sides by the final-layer rule: TTFT speedup "
            f"{final['ratio']:.3f}, dense {final['dense_s']:.3f} s, sparse "
            f"{final['sparse_s']:.3f} s"
        )
    least, longest = line["break_even_tokens"], max(one["tokens"] for one in line["ttft"])
    text.append(
        f"break-even: sparse is not slower from {least} tokens on (shortest measured length of "
        "which that holds)"
        if least
        else f"break-even: none; dense is faster at the longest measured length, {longest} tokens"
    )
    if line["busy"]:
        text.append("other work ran on this machine: measure again when it is quiet")
    if line["plan"] != "random":
        text.append(f"the plan now runs prompts below {least or longest + 1} tokens dense")
    return "\n".join(text)


def main(arguments: list[str]) -> int:
    """0 when measured, 2 for bad input."""
    request = parse(arguments)
    jobs, problems = jobs_and_problems(request)
    if problems:
        return refuse(problems)
    for job in jobs:
        line = measure(request, job)
        path = make_folder(Path(job.settings.output_dir)) / "speed.jsonl"
        with disk_errors("append to", path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line) if request.json else describe(line), flush=True)
    return DONE
