"""What an answer loses if the FFNs of the last layers give zero for every context token.

python benchmarks/depth.py --layers 1,2,4,8
python benchmarks/depth.py --layers 4 --part test fidelity.contexts=[1536,6000]

Nothing takes the place of those FFNs, and no block stays dense. The tokens after the context are
dense, so the last layer alone must cost nothing: no later token reads its output. KL and NLL
increase of the continuation and of a copied passage go to --out, one JSON line per number of
layers; a line that is there already is not measured again. SETTINGS are those of `python -m
ffbench`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from bench_lines import (
    QUIET,
    append,
    arguments_of,
    conditions,
    keys_of,
    numbers,
    settings_parser,
    single_job,
)
from safetensors.torch import load_file
from torch import Tensor

from ffbench.cli.errors import guarded, refuse
from ffbench.evaluation.bootstrap import interval
from ffbench.evaluation.fidelity import (
    FILE,
    Case,
    Measured,
    Row,
    compare,
    hidden_states,
    save_dense,
    summary,
    targets,
)
from ffbench.experiment.fidelity_cases import fidelity_cases
from ffbench.experiment.session import Session
from ffbench.models.adapters import gated_ffns
from ffbench.models.prefill_state import Prefill
from ffbench.runs.identity import content_key
from ffbench.runs.progress import progress_bar

SCRIPT = "depth.py"


@contextmanager
def zero_ffns(model: Any, last: int) -> Iterator[Prefill]:
    """The FFNs of the `last` layers give zeros while the yielded switch is not paused."""
    prefill, ffns = Prefill(), gated_ffns(model)

    def zeros(module: Any, args: Any, output: Tensor) -> Tensor:
        return output if prefill.paused else torch.zeros_like(output)

    hooks = [ffn.module.register_forward_hook(zeros) for ffn in ffns[len(ffns) - last :]]
    try:
        yield prefill
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def measure_depth(
    model: Any, cases: Sequence[Case], dense: dict[str, Tensor], last: int
) -> Measured:
    """Rows of every case against the dense hidden states that `save_dense` wrote."""
    measured, count = Measured(), len(gated_ffns(model))
    with zero_ffns(model, last) as prefill:
        for i, case in enumerate(progress_bar(cases, desc=f"depth: last {last}")):
            for name, hidden in hidden_states(model, case, prefill).items():
                wanted = targets(case, name)
                sides = (dense[f"{i}.{name}"][: len(wanted)], hidden[: len(wanted)])
                values = compare(model, *sides, wanted)
                measured.rows.append(
                    Row(case.text, case.document, case.context, name, len(wanted), **values)
                )
            measured.total += count * len(case.prompt)
            measured.used += (count - last) * len(case.prompt)
    return measured


def run(arguments: Sequence[str]) -> int:
    """Append a line per number of layers that --out does not have."""
    parser = settings_parser(__doc__, "benchmarks/results/depth.jsonl")
    parser.add_argument("--layers", type=numbers, default=[1, 2, 4, 8], metavar="N,N")
    parser.add_argument("--part", choices=("heldout", "test"), default="heldout")
    options = parser.parse_intermixed_args(list(arguments))
    tails = ("fidelity.tails=[continuation,copy]", f"fidelity.part={options.part}")
    session = Session(single_job(options.settings, [*QUIET, *tails]).settings)
    model, s, stage = session.model, session.settings, session.stages.dense_tails
    if stage is None:
        return refuse(["fidelity.windows: 0 is too small; choose 1 or more"])
    count = len(gated_ffns(model))
    if wrong := [n for n in options.layers if not 0 < n <= count]:
        return refuse([f"--layers: {wrong[0]} is not in 1..{count}, the model's layers"])
    keys = {n: content_key({"dense_tails": stage.key, "zero_layers": n}) for n in options.layers}
    missing = [n for n, key in keys.items() if key not in keys_of(options.out)]
    if not missing:
        print("every line is there already")
        return 0
    cases = fidelity_cases(s.fidelity, session.tokenizer)
    dense = load_file(session.cached(stage, lambda path: save_dense(model, cases, path)) / FILE)
    for n in missing:
        measured = measure_depth(model, cases, dense, n)
        fidelity = summary(measured, measured.density, interval)
        fidelity.pop("rows")
        line = {
            "key": keys[n],
            "model": s.model.name,
            "zero_layers": n,
            "layers": count,
            "part": s.fidelity.part,
            "fidelity": fidelity,
        }
        append(options.out, line | conditions(SCRIPT, arguments, str(model.device)))
        for text, values in fidelity["by_text"].items():
            kl = ", ".join(f"{tail} KL {value['kl']:.4f}" for tail, value in values.items())
            print(f"last {n} of {count} layers, {text}: {kl}", flush=True)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; every error is one line."""
    return guarded(lambda: run(arguments_of(arguments)))


if __name__ == "__main__":
    raise SystemExit(main())
