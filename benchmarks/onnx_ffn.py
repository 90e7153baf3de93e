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
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from bench_lines import append, arguments_of, conditions
from openvino_op import custom_model, operation
from torch import Tensor

SCRIPT = "onnx_ffn.py"
OPSET = 17
ENGINES = ("onnxruntime", "openvino")
FORMS = ("batched", "scan")
Run = Callable[[list[str], Tensor], list[Tensor]]


@dataclass(frozen=True)
class Shape:
    """Inputs d, neurons f, of which `kept` run for each block of `block` tokens."""

    d: int
    f: int
    kept: int
    block: int
    tokens: int

    @property
    def blocks(self) -> int:
        """Whole blocks of a prompt."""
        return self.tokens // self.block

    @property
    def copied(self) -> int:
        """Bytes of weight rows that one sparse pass copies, in float32."""
        return 3 * 4 * self.blocks * self.kept * self.d


@dataclass(frozen=True)
class Weights:
    """gate, up and the transposed down matrix [f, d], and a linear predictor [f, d]."""

    gate: Tensor
    up: Tensor
    down_t: Tensor
    predictor: Tensor

    @classmethod
    def random(cls, shape: Shape) -> "Weights":
        """Weights as a model has them before training; the predictor reads a block's mean."""
        generator = torch.Generator().manual_seed(0)
        scale = shape.d**-0.5
        made = [torch.randn(shape.f, shape.d, generator=generator) * scale for _ in range(4)]
        return cls(*made)


def missing(engine: str) -> list[str]:
    """Packages that cannot be imported here."""
    return [name for name in ("onnx", engine) if find_spec(name) is None]


def dense_graph(shape: Shape, weights: Weights) -> bytes:
    """The dense FFN (silu(x Wg^T) * (x Wu^T)) Wd^T of x [T, d] as a model; T is free."""
    from onnx import helper, numpy_helper

    matrices = {"gate": weights.gate.T, "up": weights.up.T, "down": weights.down_t}
    stored = [numpy_helper.from_array(w.contiguous().numpy(), n) for n, w in matrices.items()]
    nodes = [
        helper.make_node("MatMul", ["x", "gate"], ["g"]),
        helper.make_node("MatMul", ["x", "up"], ["u"]),
        *activated("g", "u", "h"),
        helper.make_node("MatMul", ["h", "down"], ["y"]),
    ]
    return serialized(nodes, [values("x", ["T", shape.d])], [values("y", ["T", shape.d])], stored)


def sparse_graph(shape: Shape, weights: Weights, form: str) -> bytes:
    """The same with the `kept` neurons of each block: by mean, predictor and TopK, rows by Gather.

    batched: all blocks in one product each; scan: one block after another, whose rows fit a cache.
    T is free; it must be whole blocks. Output `kept` [blocks, K] has the neurons, in any order.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    numbers = {
        "block_shape": np.array([-1, shape.block, shape.d]),
        "row_shape": np.array([-1, shape.d]),
        "K": np.array([shape.kept]),
    }
    rows = {"gate": weights.gate, "up": weights.up, "down": weights.down_t}
    stored = [numpy_helper.from_array(w.numpy(), n) for n, w in rows.items()]
    stored.append(numpy_helper.from_array(weights.predictor.T.contiguous().numpy(), "predictor"))
    stored += [numpy_helper.from_array(value, name) for name, value in numbers.items()]
    node = helper.make_node
    nodes = [
        node("Reshape", ["x", "block_shape"], ["xb"]),
        node("ReduceMean", ["xb"], ["mean"], axes=[1], keepdims=0),
        node("MatMul", ["mean", "predictor"], ["scores"]),
        node("TopK", ["scores", "K"], ["best", "kept"], axis=1, sorted=0),
    ]
    if form == "batched":
        nodes += block_ffn("xb", "kept", "yb", [0, 2, 1])
    else:
        body = helper.make_graph(
            block_ffn("one", "rows", "out", [1, 0]),
            "block",
            [values("one", [shape.block, shape.d]), integers("rows", [shape.kept])],
            [values("out", [shape.block, shape.d])],
        )
        nodes.append(node("Scan", ["xb", "kept"], ["yb"], body=body, num_scan_inputs=2))
    nodes.append(node("Reshape", ["yb", "row_shape"], ["y"]))
    outputs = [values("y", ["T", shape.d]), integers("kept", ["B", shape.kept])]
    return serialized(nodes, [values("x", ["T", shape.d])], outputs, stored)


def block_ffn(x: str, kept: str, y: str, transposed: list[int]) -> list[Any]:
    """Nodes of the FFN of x [.., block, d] with the neurons kept [.., K]."""
    from onnx import helper

    node, nodes = helper.make_node, []
    for name in ("gate", "up"):
        nodes += [
            node("Gather", [name, kept], [f"{name}_rows"], axis=0),
            node("Transpose", [f"{name}_rows"], [f"{name}_columns"], perm=transposed),
            node("MatMul", [x, f"{name}_columns"], [f"{name}_out"]),
        ]
    return [
        *nodes,
        *activated("gate_out", "up_out", "hidden"),
        node("Gather", ["down", kept], ["down_rows"], axis=0),
        node("MatMul", ["hidden", "down_rows"], [y]),
    ]


def activated(gate: str, up: str, out: str) -> list[Any]:
    """Nodes of silu(gate) * up."""
    from onnx import helper

    return [
        helper.make_node("Sigmoid", [gate], [f"{out}_sigmoid"]),
        helper.make_node("Mul", [gate, f"{out}_sigmoid"], [f"{out}_silu"]),
        helper.make_node("Mul", [f"{out}_silu", up], [out]),
    ]


def values(name: str, shape: list[Any]) -> Any:
    """A float32 input or output."""
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def integers(name: str, shape: list[Any]) -> Any:
    """An int64 input or output."""
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.INT64, shape)


def serialized(nodes: list[Any], inputs: list[Any], outputs: list[Any], stored: list[Any]) -> bytes:
    """A checked model of standard operations, as bytes."""
    from onnx import checker, helper

    graph = helper.make_graph(nodes, "ffn", inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    checker.check_model(model)
    return bytes(model.SerializeToString())


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
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/onnx_ffn.jsonl"))
    options = parser.parse_args(given)
    if absent := missing(options.engine):
        print(
            f"error: {SCRIPT} needs the package{'s' * (len(absent) > 1)} {' and '.join(absent)}; "
            "docs/onnx_openvino.md says how to add them",
            file=sys.stderr,
        )
        return 2
    if options.tokens % options.block or min(options.tokens, options.block, options.rounds) < 1:
        parser.error("--tokens must be a multiple of --block, and --rounds at least 1")
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
