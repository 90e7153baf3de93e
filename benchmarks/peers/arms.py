"""What is timed: each runtime with a precision and a format of the weights."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ffbench.models.kernel_names import INT8

REFERENCE = "torch eager"  # every ratio and every next token is compared with it
STORED = "as stored"
FLOAT32 = "float32"
INT8_FFNS = "float32, FFNs with int8 weights and activations"
# float32 products, no 8-bit activations, float32 keys and values
OPENVINO_FLOAT32 = {
    "INFERENCE_PRECISION_HINT": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    "KV_CACHE_PRECISION": "f32",
}


@dataclass(frozen=True)
class Arm:
    """One row.

    engine: module under `engines`. gguf: format of the file that a peer reads (STORED, f16, f32),
    or None for our own process. static: compiled for one prompt length.
    """

    name: str
    engine: str
    precision: str
    weights: str
    options: dict[str, Any] = field(default_factory=dict)
    gguf: str | None = None
    static: bool = False


def peers(stored: str) -> list[Arm]:
    """Runtimes of others, in an environment of their own; `stored` is the file's own format."""
    eight_bit = "float32 with 8-bit activations"
    return [
        Arm(
            "OpenVINO GenAI, default",
            "openvino",
            "its default",
            f"GGUF {stored}",
            {"properties": {}},
            STORED,
        ),
        Arm(
            "OpenVINO GenAI, f32",
            "openvino",
            FLOAT32,
            f"GGUF {stored}",
            {"properties": OPENVINO_FLOAT32},
            STORED,
        ),
        Arm(
            "OpenVINO GenAI, f32, F16 file",
            "openvino",
            FLOAT32,
            "GGUF F16",
            {"properties": OPENVINO_FLOAT32},
            "f16",
        ),
        Arm(
            f"llama.cpp, {stored}",
            "llama_cpp",
            eight_bit,
            f"GGUF {stored}",
            {"float32_cache": False},
            STORED,
        ),
        Arm("llama.cpp, F16", "llama_cpp", "float16", "GGUF F16", {"float32_cache": False}, "f16"),
        Arm("llama.cpp, F32", "llama_cpp", FLOAT32, "GGUF F32", {"float32_cache": True}, "f32"),
    ]


def own(model: dict[str, Any], backend: str, plans: Sequence[tuple[Path, float]]) -> list[Arm]:
    """torch, and ours, with the model's FFN weights and with int8 ones: `model` is a ModelSpec as a
    mapping, `plans` are folders with sparsities.
    """

    def arm(name: str, mode: str, plan: Path | None = None, static: bool = False) -> Arm:
        options = {"model": model, "mode": mode, "backend": backend}
        if plan:
            options["plan"] = str(plan)
        return Arm(name, "torch", FLOAT32, FLOAT32, options, static=static)

    def rounded(plain: Arm) -> Arm:
        options = plain.options | {"backend": INT8}
        return replace(plain, name=f"{plain.name}, int8 FFNs", precision=INT8_FFNS, options=options)

    names = [f"ours, {sparsity:.0%} sparse" for _, sparsity in plans]
    names = [
        f"{name} ({folder.name})" if names.count(name) > 1 else name
        for name, (folder, _) in zip(names, plans, strict=True)
    ]
    ours = [
        arm("ours, dense", "own_dense", plans[0][0]),
        *(arm(name, "sparse", folder) for name, (folder, _) in zip(names, plans, strict=True)),
    ]
    return [
        arm(REFERENCE, "eager"),
        arm("torch.compile", "compile", static=True),
        *ours,
        *map(rounded, ours),
    ]
