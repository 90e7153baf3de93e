"""What is wrong inside a model's files, told before any of them is loaded; reads no weights."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from ffbench import strict_json
from ffbench.models.checkpoint import is_lfs_pointer

# JSON objects that transformers reads next to the weights; it ignores some of them if they are
# damaged, and a model would then stop at other tokens or read other text without a word
OBJECTS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
# names of safetensors; other dtypes are cast without a scale when a model is loaded
FLOATS = ("F64", "F32", "F16", "BF16")
GGUF_MAGIC = b"GGUF"
FETCH = "fetch it again"


def safetensors_problem(path: Path) -> str | None:
    """Why a safetensors file cannot be used: its header, its length, or the dtype of a weight."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            kinds = {name: str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        return f"cannot be loaded: a weights file is damaged ({error}); {FETCH}"
    for name, kind in kinds.items():
        if name.endswith((".weight", ".bias")) and kind not in FLOATS:
            return (
                f"holds {name} as {kind}; FFBench needs float32, bfloat16 or float16 weights, not "
                "quantised ones"
            )
    return None


def object_problem(path: Path) -> str | None:
    """Why a file holds no JSON object."""
    try:
        value = strict_json.parse(path.read_bytes())
    except ValueError as error:
        return f"is not JSON ({error}); {FETCH}"
    return None if isinstance(value, dict) else f"is not a JSON object; {FETCH}"


@lru_cache(maxsize=256)
def problem_inside(path: Path, size: int, modified: int) -> str | None:
    """What is wrong with one file of this size and time of change (ns); None if nothing is."""
    if is_lfs_pointer(path):
        return "is a Git LFS pointer, not the file itself; fetch it with: git lfs pull"
    if path.suffix == ".safetensors":
        return safetensors_problem(path)
    if path.suffix == ".gguf":
        with path.open("rb") as file:
            return None if file.read(4) == GGUF_MAGIC else f"is not a GGUF file; {FETCH}"
    return object_problem(path) if path.name in OBJECTS else None


def damage(files: Iterable[Path]) -> list[str]:
    """A sentence for every file of a checkpoint that is damaged or holds unusable weights."""
    problems = []
    for path in files:
        try:
            stat = path.stat()
            problem = problem_inside(path, stat.st_size, stat.st_mtime_ns)
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
        if problem:
            problems.append(f"model.location: {path} {problem}")
    return problems
