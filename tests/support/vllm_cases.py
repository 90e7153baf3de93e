"""Models, plans and processes for the tests that run vLLM."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from ffbench.integrations.fingerprints import fingerprint
from ffbench.methods.plan_files import plan_settings
from ffbench.models.random_models import random_plan

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests" / "support" / "vllm_engine.py"
BLOCK, NEW_TOKENS = 32, 6
# Whole blocks, so that chunks of 1024 rows end with blocks also where a batch has several prompts
LENGTHS = (1504, 64, 608)


def has_vllm() -> bool:
    spec = find_spec("vllm")  # the folder of these tests has the same name, but no source
    return spec is not None and spec.origin is not None


NEEDS_VLLM = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_vllm(), reason="vLLM is not installed; make test-vllm installs it"),
]


def saved_model(folder: Path, family: str, **changed: Any) -> Path:
    """A tiny model whose heads are of a size that vLLM's CPU attention knows."""
    import transformers

    path = folder / (family + "".join(f"-{name}" for name in changed))
    if path.exists():
        return path
    sizes = {"hidden_size": 128, "intermediate_size": 320, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
    if family == "qwen2":
        del heads["head_dim"]
    config = getattr(transformers, f"{family.capitalize()}Config")(
        vocab_size=1000,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
        **sizes | heads | changed,
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"{family.capitalize()}ForCausalLM")(config)
    for weight in model.parameters():
        if weight.dim() == 2:
            weight.data.mul_(3)  # so that greedy tokens do not hang on roundings
    model.eval().save_pretrained(path)
    return path


def saved_plan(folder: Path, model: Path, sparsity: float, name: str = "plan") -> Path:
    from transformers import AutoModelForCausalLM

    path = folder / f"{model.name}-{name}-{sparsity}"
    if path.exists():
        return path
    node = {
        "selector": {"name": "trained"},
        "compensator": {"name": "surrogate", "rank": 8, "output_map_rank": 4},
        "scheduler": {"name": "uniform"},
    }
    sizes = {"block_size": BLOCK, "first_dense": BLOCK, "last_dense": 40, "hot_fraction": 0.25}
    if not sparsity:
        node["compensator"] = {"name": "none"}
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    plan = random_plan(loaded, plan_settings(node | sizes | {"sparsity": sparsity}))
    plan.fingerprint = fingerprint(
        name="tiny", dtype="float32", pretrained=str(model), gguf_file=None, revision=None
    )
    plan.card = {"model": "tiny"}
    plan.save(path)
    return path


def prompts(lengths: tuple[int, ...] = LENGTHS) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(3, 1000, (n,), generator=generator).tolist() for n in lengths]


def environment() -> dict[str, str]:
    paths = [str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ":".join(filter(None, paths))}


def run(what: str, **case: Any) -> tuple[Any, str]:
    """The result of one process, and all that it printed."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps({"what": what} | case)],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment(),
    )
    text = done.stdout + done.stderr
    results = re.findall(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    assert results, text[-5000:]
    return json.loads(results[-1]), text
