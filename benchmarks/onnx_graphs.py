"""A gated FFN as ONNX graphs of standard operations: dense, and sparse by blocks of tokens."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

OPSET = 17


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
