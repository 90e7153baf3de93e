"""llama.cpp on a GGUF file, by llama-cpp-python, with llama.cpp's own sizes of batches."""

from collections.abc import Callable
from typing import Any

F32 = 0  # GGML_TYPE_F32


def load(request: dict[str, Any]) -> tuple[Callable[[list[int]], int], dict[str, Any]]:
    """The key-value cache is emptied before each prompt."""
    import llama_cpp
    import numpy as np

    cache = {"type_k": F32, "type_v": F32} if request["float32_cache"] else {}
    model = llama_cpp.Llama(
        model_path=request["gguf"],
        n_ctx=request["tokens"] + 1,
        n_batch=request["tokens"],
        n_threads=request["threads"],
        n_threads_batch=request["threads"],
        verbose=False,
        **cache,
    )

    def next_token(ids: list[int]) -> int:
        model.reset()
        model.eval(ids)
        logits = llama_cpp.llama_get_logits_ith(model.ctx, -1)
        return int(np.argmax(np.ctypeslib.as_array(logits, shape=(model.n_vocab(),))))

    return next_token, {
        "runtime": "llama-cpp-python",
        "version": llama_cpp.__version__,
        "instructions": llama_cpp.llama_print_system_info().decode(),
    }
