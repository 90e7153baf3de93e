"""A plan in OpenVINO GenAI: its pipeline on a model whose FFNs are a custom operation of ours.

python benchmarks/openvino_pipeline.py PLAN MODEL.gguf
python benchmarks/openvino_pipeline.py PLAN MODEL.gguf --tokens 300 --new 8 --folder /tmp/model

The pipeline reads the GGUF file and saves its model; each FFN is replaced by an operation that
calls the plan's own kernels, and the pipeline runs the saved model with `extensions`. Prints the
new tokens of both and the realised density. One request at a time, float32. PLAN must be made from
the same weights, which is not checked beyond their sizes. docs/onnx_openvino.md has the findings.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from bench_lines import arguments_of, count
from openvino_op import Sparse, operation
from torch import Tensor
from transformers.models.phi3.modeling_phi3 import Phi3MLP

from ffbench.cli.errors import guarded
from ffbench.integrations.vllm.layer import BatchFFN
from ffbench.integrations.vllm.positions import RequestRows, batch_layout
from ffbench.methods.plan import PlanError, SparsePlan
from ffbench.models.prefill_state import Prefill

PACKAGES = ("openvino", "openvino_genai", "openvino_tokenizers")
MODEL = "openvino_model.xml"


def fused(gate: Tensor, up: Tensor, down: Tensor) -> Phi3MLP:
    """A module with these weights, gate and up [f, d] in one projection and down [d, f]."""
    sizes = {"hidden_size": down.shape[0], "intermediate_size": down.shape[1]}
    mlp = Phi3MLP(SimpleNamespace(**sizes, hidden_act="silu"))
    mlp.gate_up_proj.weight.data, mlp.down_proj.weight.data = torch.cat([gate, up]), down
    return mlp


def planned(plan: SparsePlan, index: int, weights: Sequence[Tensor], prefill: Prefill) -> Sparse:
    """The FFN of a layer with gate and up [f, d] and down [d, f]; passes of one token are dense."""
    ffn = BatchFFN(index=index, mlp=fused(*weights), activation="silu", plan=plan, prefill=prefill)

    def run(x: Tensor) -> tuple[Tensor]:
        prompt = len(x) if len(x) > 1 else 0
        rows = RequestRows(start=0, end=len(x), offset=0, prompt_tokens=prompt)
        return (ffn.forward(x, batch_layout(plan.settings, [rows], len(x), plan.min_tokens)),)

    return run


def constant(node: Any) -> Tensor:
    """The float32 values of a constant behind conversions."""
    import numpy as np

    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    return torch.from_numpy(np.array(node.data, dtype=np.float32))


def gated_ffns(model: Any) -> list[tuple[Any, Any, list[Tensor]]]:
    """Input, last node and weights of each silu(x Wg^T) * (x Wu^T) Wd^T, first layer first."""
    found = []
    for swish in (node for node in model.get_ordered_ops() if node.get_type_name() == "Swish"):
        gate = swish.input_value(0).get_node()
        product = next(iter(swish.output(0).get_target_inputs())).get_node()
        factors = [value.get_source_output().get_node() for value in product.inputs()]
        up = next(f for f in factors if f.get_friendly_name() != swish.get_friendly_name())
        down = next(iter(product.output(0).get_target_inputs())).get_node()
        weights = [constant(node.input_value(1).get_node()) for node in (gate, up, down)]
        found.append((gate.input_value(0), down, weights))
    return found


def replaced(folder: Path, target: Path, plan: SparsePlan, prefill: Prefill) -> Any:
    """The class of operations; a saved model with them is in `target` afterwards.

    Raises PlanError if the plan has another number of layers.
    """
    import numpy as np
    import openvino
    from openvino import opset13

    model = openvino.Core().read_model(folder / MODEL)
    ffns = gated_ffns(model)
    if len(ffns) != len(plan.layers):
        raise PlanError(f"the plan has {len(plan.layers)} layers, the model {len(ffns)}")
    made = operation([planned(plan, i, ffn[2], prefill) for i, ffn in enumerate(ffns)])
    for index, (x, down, _) in enumerate(ffns):
        number = opset13.constant(np.array(index, dtype=np.int32))
        new = made([x, number.output(0)])
        for reader in list(down.output(0).get_target_inputs()):
            reader.replace_source_output(new.output(0))
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("openvino_model.*", "*.gguf"))
    openvino.save_model(model, target / MODEL, compress_to_fp16=False)
    return made


def pipeline(path: Path, threads: int, **properties: Any) -> Any:
    """A pipeline in float32 that never splits a prompt and reuses nothing of an earlier one."""
    import openvino_genai as genai

    scheduler = genai.SchedulerConfig()
    scheduler.enable_prefix_caching = False
    scheduler.max_num_batched_tokens = 1 << 30
    properties |= {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    properties |= {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    return genai.LLMPipeline(str(path), "CPU", scheduler_config=scheduler, **properties)


def answer(pipe: Any, ids: Tensor, new: int) -> list[int]:
    """Greedy tokens after the prompt ids [1, T]."""
    import openvino
    import openvino_genai as genai

    settings = genai.GenerationConfig()
    settings.max_new_tokens, settings.do_sample = new, False
    settings.ignore_eos, settings.apply_chat_template = True, False
    mask = torch.ones_like(ids)
    given = genai.TokenizedInputs(openvino.Tensor(ids.numpy()), openvino.Tensor(mask.numpy()))
    return [int(token) for token in pipe.generate(given, settings).tokens[0]]


def main(arguments: Sequence[str] | None = None) -> int:
    """0; 2 where a package is missing or the plan does not fit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plan", type=Path)
    parser.add_argument("gguf", type=Path, help="a Llama-like model in F16")
    parser.add_argument("--tokens", type=count, default=1024, help="random ids of the prompt")
    parser.add_argument("--new", type=count, default=8)
    parser.add_argument("--threads", type=count, default=torch.get_num_threads())
    parser.add_argument("--folder", type=Path, help="a new folder for the models; else a temporary")
    options = parser.parse_args(arguments_of(arguments))
    if absent := [name for name in PACKAGES if find_spec(name) is None]:
        print(f"error: needs {', '.join(absent)}; see docs/onnx_openvino.md", file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "models"
        (folder / "dense").mkdir(parents=True)
        link = folder / "dense" / "model.gguf"
        link.symlink_to(options.gguf.absolute())
        ids = torch.randint(
            100, 1000, (1, options.tokens), generator=torch.Generator().manual_seed(0)
        )
        prefill = Prefill()
        try:
            plan = SparsePlan.load(options.plan)
            dense = pipeline(link, options.threads, enable_save_ov_model=True)
            print("dense", answer(dense, ids, options.new))
            made = replaced(folder / "dense", folder / "planned", plan, prefill)
        except (PlanError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        sparse = pipeline(folder / "planned", options.threads, extensions=[made])
        print("plan ", answer(sparse, ids, options.new), f"density {prefill.density:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
