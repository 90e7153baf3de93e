"""One gated FFN as a graph of standard ONNX operations, dense and sparse by blocks of tokens.

python benchmarks/onnx_ffn.py
python benchmarks/onnx_ffn.py --engine openvino --shapes 576x1536 --rounds 3

Checks the graphs against ffkernels, then times them in turn; each round's ratios are of runs next
to each other. With OpenVINO, `custom` is an operation of ours that calls ffkernels.

Needs the packages onnx and onnxruntime, or onnx and openvino, which no lock has;
docs/onnx_openvino.md says how to add them and what was found.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from bench_lines import append, arguments_of, conditions, count
from onnx_graphs import Shape, Weights, dense_graph, sparse_graph
from openvino_op import custom_model, operation
from torch import Tensor

SCRIPT = "onnx_ffn.py"
ENGINES = ("onnxruntime", "openvino")
FORMS = ("batched", "scan")
Run = Callable[[list[str], Tensor], list[Tensor]]


def missing(engine: str) -> list[str]:
    """Packages that cannot be imported here."""
    return [name for name in ("onnx", engine) if find_spec(name) is None]


def onnxruntime_run(model: bytes, threads: int) -> Run:
    """A function that computes named outputs of x with onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(names: list[str], x: Tensor) -> list[Tensor]:
        return [torch.from_numpy(out) for out in session.run(names, {"x": x.numpy()})]

    return run


def openvino_run(model: Any, threads: int) -> Run:
    """The same with OpenVINO, in float32 too, for bytes or a model of its own."""
    import openvino

    core = openvino.Core()
    properties = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    properties["PERFORMANCE_HINT"] = "LATENCY"
    read = core.read_model(model, b"") if isinstance(model, bytes) else model
    compiled = core.compile_model(read, "CPU", properties)
    request = compiled.create_infer_request()

    def run(names: list[str], x: Tensor) -> list[Tensor]:
        request.infer({"x": x.numpy()}, share_inputs=True)
        return [torch.from_numpy(request.get_tensor(name).data) for name in names]

    return run


def custom_run(shape: Shape, weights: Weights, threads: int) -> Run:
    """The same as `openvino_run` of a model whose FFN is a custom operation."""
    from ffkernels import sparse_gated_ffn

    def sparse(x: Tensor) -> tuple[Tensor, Tensor]:
        means = x.view(-1, shape.block, shape.d).mean(1)
        kept = (means @ weights.predictor.T).topk(shape.kept, dim=1).indices.sort(dim=1).values
        rows = weights.gate, weights.up, weights.down_t
        return sparse_gated_ffn(x, *rows, kept, shape.block), kept

    made = operation([sparse], shape.kept, shape.block)
    return openvino_run(custom_model(made, shape.d), threads)


def allowed(shape: Shape, y: Tensor) -> float:
    """Largest difference by roundings: d + K products in another order, of y's size."""
    return float(2.0**-24 * (shape.d + shape.kept) * y.abs().max())


def differences(shape: Shape, weights: Weights, x: Tensor, runs: dict[str, Run]) -> dict[str, Any]:
    """Each graph's largest difference from ffkernels. Raises ValueError if one is too large."""
    from ffkernels import dense_gated_ffn, sparse_gated_ffn

    rows = weights.gate, weights.up, weights.down_t
    means = x.view(shape.blocks, shape.block, shape.d).mean(1)
    chosen = (means @ weights.predictor.T).topk(shape.kept, dim=1).indices
    mask = torch.zeros(shape.blocks, shape.f, dtype=torch.bool).scatter_(1, chosen, True)
    found = {}
    for name, run in runs.items():
        if name == "dense":
            (y,) = run(["y"], x)
            expected = dense_gated_ffn(x, *rows)
        else:
            y, kept = run(["y", "kept"], x)
            kept = kept.long().sort(dim=1).values
            same = mask.gather(1, kept).float().mean().item()
            if same < 0.99:  # neurons at the border may change with a rounding of their scores
                raise ValueError(f"{name}: only {same:.1%} of the neurons are those of torch")
            expected = sparse_gated_ffn(x, *rows, kept, shape.block)
        found[name] = (y - expected).abs().max().item()
        if not found[name] <= allowed(shape, expected):
            raise ValueError(f"{name}: differs from ffkernels by {found[name]:.2e}")
    return found


def timed(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, one after another in every round; a first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if round_:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def measured(shape: Shape, engine: str, threads: int, rounds: int) -> dict[str, Any]:
    """One line: differences, median seconds, and medians of dense / sparse by form."""
    from ffkernels import dense_gated_ffn, sparse_gated_ffn

    weights = Weights.random(shape)
    x = torch.randn(shape.tokens, shape.d, generator=torch.Generator().manual_seed(1))
    compiled = {"onnxruntime": onnxruntime_run, "openvino": openvino_run}[engine]
    runs = {"dense": compiled(dense_graph(shape, weights), threads)}
    for form in FORMS:
        runs[form] = compiled(sparse_graph(shape, weights, form), threads)
    if engine == "openvino":
        runs["custom"] = custom_run(shape, weights, threads)
    found = differences(shape, weights, x, runs)
    kept = runs["batched"](["kept"], x)[0].long().sort(dim=1).values
    rows = weights.gate, weights.up, weights.down_t
    arms: dict[str, Callable[[], Any]] = {
        name: (lambda run=run: run(["y"], x)) for name, run in runs.items()
    }
    arms["ffkernels_dense"] = lambda: dense_gated_ffn(x, *rows)
    arms["ffkernels_sparse"] = lambda: sparse_gated_ffn(x, *rows, kept, shape.block)
    seconds = timed(arms, rounds)
    ratios = {
        name: [a / b for a, b in zip(seconds["dense"], seconds[name], strict=True)]
        for name in arms
        if name != "dense"
    }
    return {
        "engine": engine,
        "version": metadata.version(engine),
        **vars(shape),
        "rounds": rounds,
        "copied_bytes": shape.copied,
        "differences": found,
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "dense_over": {name: statistics.median(values) for name, values in ratios.items()},
        "dense_over_range": {name: [min(r), max(r)] for name, r in ratios.items()},
    }


def shape_of(text: str) -> tuple[int, int]:
    """Inputs and neurons of DxF, for argparse. Raises ValueError otherwise."""
    d, f = text.lower().split("x")
    return int(d), int(f)


def main(arguments: Sequence[str] | None = None) -> int:
    """0; 1 if a graph computes something else; 2 where a package is missing."""
    given = arguments_of(arguments)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0])
    shapes = [(576, 1536), (2048, 8192)]
    parser.add_argument("--shapes", nargs="+", type=shape_of, default=shapes, metavar="DxF")
    parser.add_argument("--tokens", type=count, default=1024)
    parser.add_argument("--block", type=count, default=128)
    parser.add_argument("--rounds", type=count, default=15)
    parser.add_argument("--threads", type=count, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/onnx_ffn.jsonl"))
    options = parser.parse_args(given)
    if absent := missing(options.engine):
        print(
            f"error: {SCRIPT} needs the package{'s' * (len(absent) > 1)} {' and '.join(absent)}; "
            "docs/onnx_openvino.md says how to add them",
            file=sys.stderr,
        )
        return 2
    if options.tokens % options.block:
        parser.error(f"--tokens: {options.tokens} is not a multiple of --block {options.block}")
    torch.set_num_threads(options.threads)
    for d, f in options.shapes:
        shape = Shape(d, f, f // 2, options.block, options.tokens)
        try:
            line = measured(shape, options.engine, options.threads, options.rounds)
        except ValueError as error:
            print(f"error: {d}x{f}: {error}", file=sys.stderr)
            return 1
        append(options.out, line | conditions(SCRIPT, given))
        told = ", ".join(f"{name} {ratio:.2f}" for name, ratio in line["dense_over"].items())
        print(f"{options.engine} {d}x{f}: dense {line['seconds']['dense']:.4f} s; over: {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
