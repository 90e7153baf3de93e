"""Made-up lines of the benchmarks (see make_recorded.py)."""

import random
from typing import Any

from made_fidelity import fidelity
from made_results import CPU, DEFAULTS, KL, MODEL, PARAMETERS, SHA, speed


def kernel_lines() -> list[dict[str, Any]]:
    """What `python -m ffkernels.bench --json` printed before schema 2, for two shapes, dtypes, block
    sizes and groups."""
    rows = []
    for shape, d, f in (("llama3.2-1b", 2048, 8192), ("qwen3-0.6b", 1024, 3072)):
        for dtype, peak in (("bf16", 900.0), ("f32", 110.0)):
            for block in (128, 256):
                for group, share in ((1, 0.62), (32, 0.8)):
                    share += 0.06 * (block == 256)
                    ratio = 2 * share + 0.35
                    seconds = 6 * 2048 * d * f * 0.5 / (share * peak * 1e9)
                    rows.append(
                        {
                            "ratio_eager": ratio,
                            "ratio_compiled": ratio - 0.05,
                            "ratio_self": 1.7 + share / 5,
                            "ideal": 2.0,
                            "density": 0.5,
                            "gflops": share * peak,
                            "peak_gflops": peak,
                            "p20": ratio - 0.06,
                            "p80": ratio + 0.07,
                            "backend": "native",
                            "threads": 1,
                            "cpu": CPU,
                            "seconds": seconds,
                            "rounds": 7,
                            "shape": shape,
                            "dtype": dtype,
                            "block": block,
                            "tokens": 2048,
                            "group": group,
                            "sparsity": 0.5,
                            "hot_fraction": 0.0,
                            "d": d,
                            "f": f,
                            "git_sha": SHA,
                        }
                    )
    return rows


def speed_lines() -> list[dict[str, Any]]:
    """What `python -m ffbench speed --json` printed before schema 2."""
    draw, rows = random.Random("speed"), []
    for shape in ("llama3.2-1b", "qwen2.5-0.5b"):
        times = sorted(speed(DEFAULTS, 0.55, draw)["ttft"], key=lambda one: one["tokens"])
        ffn = [one | {"ratio": 1.4, "dense_s": one["tokens"] * 1.2e-3} for one in times]
        rows.append(
            {
                "shape": shape,
                "dtype": "bfloat16",
                "selector": "trained",
                "compensator": "surrogate",
                "rank": 128,
                "scheduler": "curvature",
                "layers": 16,
                "weights": "random",
                "group": 1,
                "sparsity": 0.5,
                "block": 128,
                "hot_fraction": 0.0,
                "threads": 2,
                "backend": "native",
                "ffn": ffn,
                "ttft": times,
                "flops_ratio": 0.55,
                "break_even_tokens": 1024,
                "cpu": CPU,
                "git_sha": SHA,
            }
        )
    return rows


def serve_lines() -> list[dict[str, Any]]:
    """What `python -m ffbench serve-bench` appends: two lengths, two rates, two rounds."""
    loads = [(tokens, rate) for tokens in (1024, 2048) for rate in (0.25, 0.0)]
    return [
        {
            "arm": arm,
            "round": turn,
            "input_tokens": tokens,
            "output_tokens": 16,
            "rate": rate,
            "requests": 24,
            "seconds": 600.0,
            "seed": seed,
            **{f"ttft_p{p}_s": tokens * (1 + p / 100) * slow * 1e-3 for p in (50, 90, 99)},
            **{f"tpot_p{p}_s": 0.03 * (1 + p / 100) / slow for p in (50, 90, 99)},
            "completed": 24,
            "duration_s": 96.0,
            "requests_per_s": 0.25 / slow,
            "output_tokens_per_s": 4 / slow,
            "total_tokens_per_s": (tokens + 16) / 4 / slow,
            "density": None if arm == "dense" else 0.55,
            "model": MODEL,
            "plan": "plan",
            "selector": "trained",
            "compensator": "surrogate",
            "scheduler": "curvature",
            "sparsity": 0.5,
            "block_size": 128,
            "device": "cpu",
            "gpu": None,
            "cpu": CPU,
            "threads": {"OMP_NUM_THREADS": "2", "torch": 2},
            "torch": "2.13.0+cpu",
            "vllm": "0.32.0",
            "server_options": ["--dtype", "float32"],
            "server_environment": {"VLLM_CPU_KVCACHE_SPACE": "1"},
            "git_sha": SHA,
            "command": "python -m ffbench serve-bench plan=plan model=model",
        }
        for turn in (0, 1)
        for arm, slow in (("dense", 1.0), ("sparse", 0.8 + turn / 20))
        for seed, (tokens, rate) in enumerate(loads)
    ]


def union_lines() -> list[dict[str, Any]]:
    """How far the tokens of a block agree, by block size."""
    return [
        {
            "model": MODEL,
            "text": text,
            "block": block,
            "density": density,
            "union": 1 - (1 - density) * (0.93 if text == "code" else 0.9) ** (block**0.75),
            "mass": 0.97 - 0.06 * (1 - density) * (block / 16) ** 0.2,
            "mass_residual": 0.9 - 0.1 * (1 - density) * (block / 16) ** 0.2,
            "windows": 2,
            "layer": None,
        }
        for text in ("prose", "code")
        for density in (0.25, 0.5)
        for block in (16, 32, 64, 128, 256, 512)
    ]


def selection_lines() -> list[dict[str, Any]]:
    """What benchmarks/accuracy_selectors.py appends."""
    return [
        {
            "selector": selector.split()[0],
            "compensator": "surrogate",
            "scheduler": "uniform",
            "parameters": {
                "selector": PARAMETERS.get(selector, {}),
                "compensator": PARAMETERS["surrogate"],
                "scheduler": {},
            },
            "sparsity": 0.5,
            "block_size": 128,
            "model": MODEL,
            "fidelity": fidelity(kl, random.Random(selector)),
            "cpu": CPU,
            "threads": 2,
            "git_sha": SHA,
        }
        for selector, kl in KL.items()
    ]
