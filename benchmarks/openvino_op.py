"""A custom operation of OpenVINO, written in Python, that runs the sparse FFN with ffkernels.

The class is made by a function because its base class is in a package that no lock has.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Sparse = Callable[[Tensor], tuple[Tensor, ...]]


def operation(layers: Sequence[Sparse], kept: int = 0, block: int = 1) -> Any:
    """A class of operations: input x [.., d] and the number of a layer, output y as x, computed by
    the layer's function of x [T, d]. With `kept`, x is [T, d], and a second output is the neurons
    [blocks, kept] of each block.

    The number is an input, not an attribute: attributes of Python operations are lost in files.
    """
    import numpy as np
    import openvino

    class PlanFFN(openvino.Op):  # type: ignore[misc, name-defined]
        class_type_info = openvino.DiscreteTypeInfo("PlanFFN", "ffbench")

        def __init__(self, inputs: Any = None) -> None:
            super().__init__(self)
            if inputs is not None:
                self.set_arguments(inputs)
                self.constructor_validate_and_infer_types()

        def validate_and_infer_types(self) -> None:
            shape = self.get_input_partial_shape(0)
            self.set_output_type(0, self.get_input_element_type(0), shape)
            if kept:
                blocks = -1 if shape[0].is_dynamic else -(-shape[0].get_length() // block)
                chosen = openvino.PartialShape([blocks, kept])
                self.set_output_type(1, openvino.Type.i64, chosen)

        def clone_with_new_inputs(self, new_inputs: Any) -> Any:
            return PlanFFN(new_inputs)

        def visit_attributes(self, visitor: Any) -> bool:
            return True

        def has_evaluate(self) -> bool:
            return True

        def evaluate(self, outputs: Any, inputs: Any) -> bool:
            x = torch.from_numpy(inputs[0].data)
            y, *others = layers[int(inputs[1].data.item())](x.reshape(-1, x.shape[-1]))
            for output, value in zip(outputs, (y.view(x.shape), *others), strict=True):
                output.shape = list(value.shape)
                np.copyto(output.data, value.numpy())
            return True

    return PlanFFN


def custom_model(made: Any, d: int) -> Any:
    """A model of one such operation, layer 0, with outputs y and kept; T is free."""
    import numpy as np
    import openvino
    from openvino import opset13

    x = opset13.parameter([-1, d], np.float32, "x")
    x.output(0).set_names({"x"})
    number = opset13.constant(np.array(0, dtype=np.int32))
    node = made([x.output(0), number.output(0)])
    results = []
    for index, name in enumerate(("y", "kept")):
        result = opset13.result(node.output(index))
        result.output(0).set_names({name})
        results.append(result)
    return openvino.Model(results, [x], "ffn")
