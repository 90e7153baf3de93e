"""The steps of `make gpu`, each a command with a limit in seconds.

The limits add up to 10 minutes, or to 2 for the quick list. They are estimates: no card was at hand
when they were chosen.
"""

from dataclasses import dataclass
from pathlib import Path

SHAPES = ("llama3.2-1b", "llama3.1-8b")
BLOCKS = (128, 256, 512)
LENGTHS = (2048, 4096, 8192, 16384)
KERNEL_SECONDS = 25
# Mostly imports and the making of random weights: 2.5 GB for the 1B shape, 16 GB for the 8B one.
TTFT_SECONDS = {"llama3.2-1b": 20, "llama3.1-8b": 40}
COMPILED_SECONDS = 70  # 16 layers to compile


@dataclass(frozen=True)
class Step:
    """A module to run with its arguments, its limit, and the packages that it imports.

    variables: environment variables for the later steps, each the path of a file that this step
    writes.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    seconds: float
    packages: tuple[str, ...] = ("torch", "triton")
    variables: tuple[tuple[str, Path], ...] = ()


def gpu_tests() -> Step:
    """The tests that need a card."""
    packages = ("torch", "triton", "pytest", "transformers")
    return Step("gpu tests", "pytest", ("-m", "gpu", "tests"), 80, packages)


def tiles(output: Path) -> Step:
    """The search for the fastest tile sizes on this card; later steps use what it finds."""
    arguments = ("--output-dir", str(output))
    found = (("FFKERNELS_TILES", output / "tiles.jsonl"),)
    return Step("tiles", "ffkernels.triton.autotune", arguments, 60, variables=found)


def kernel(shape: str, block: int, output: Path) -> Step:
    """The sparse FFN alone at half the neurons, 4096 tokens in bfloat16."""
    arguments = ["--shape", shape, "--dtype", "bfloat16", "--tokens", "4096", "--sparsity", "0.5"]
    arguments += [
        "--block-size",
        str(block),
        "--device",
        "cuda",
        "--backend",
        "triton",
        "--no-compile",
    ]
    arguments += ["--json", "--output-dir", str(output)]
    return Step(
        f"kernel {shape}, block {block}", "ffkernels.bench", tuple(arguments), KERNEL_SECONDS
    )


def ttft(shape: str, tokens: int, output: Path, compiled: bool = False) -> Step:
    """Time to first token with random weights, selector and compensator included; dense and sparse
    also by the final-layer rule. compiled: also dense by torch.compile with CUDA graphs.
    """
    arguments = [f"shape={shape}", "model.dtype=bfloat16", "model.device=cuda", "sparsity=0.5"]
    arguments += ["model=tiny_llama"]  # shape= replaces it; the default one needs a package
    arguments += ["selector=trained_lowrank"]  # a full predictor of an 8B model takes 3.8 GB
    arguments += [f"speed.lengths=[{tokens}]", f"output_dir={output}", "tracker=none", "--json"]
    arguments += ["--final-layer", *(["--compiled"] if compiled else [])]
    packages = ("torch", "triton", "transformers", "hydra")
    return Step(
        f"TTFT {shape}, {tokens} tokens" + (", compiled" if compiled else ""),
        "ffbench",
        ("speed", *arguments),
        COMPILED_SECONDS if compiled else TTFT_SECONDS[shape],
        packages,
    )


def steps(quick: bool, output: Path) -> list[Step]:
    """Every step in the order in which it runs, the most telling ones of a kind first."""
    if quick:
        return [
            kernel("llama3.1-8b", 128, output),
            kernel("llama3.1-8b", 256, output),
            ttft("llama3.2-1b", 2048, output),
            ttft("llama3.1-8b", 4096, output),
        ]
    kernels = [kernel(shape, block, output) for block in BLOCKS for shape in SHAPES]
    return [
        gpu_tests(),
        tiles(output),
        *kernels,
        *(ttft(shape, tokens, output) for tokens in LENGTHS for shape in SHAPES),
        ttft(SHAPES[0], LENGTHS[1], output, compiled=True),
    ]
