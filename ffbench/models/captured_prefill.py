"""Prompts in chunks, those that are sparse from end to end as one CUDA graph: the host replays the
graph in place of some twenty launches per layer.

A graph repeats the same launches on the same memory. What differs between such chunks is on the
device: the token ids, and in a static cache how many tokens it holds.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from ffbench.methods.selectors import Selector
from ffbench.models.block_ffn import sparse_span
from ffbench.models.forward import with_cache
from ffbench.models.prefill_state import Prefill
from ffbench.models.sparse_model import SparseModel

READS_OFFSETS = ("reference", "torch", "gather_once")  # backends, if blocks keep different numbers


class CaptureError(ValueError):
    """A sparse prefill that cannot be captured; the text says why."""


class Graph(Protocol):
    """What was captured."""

    def replay(self) -> None:
        """Launch it again."""


def cuda_graph(run: Callable[[], None]) -> Graph:
    """What `run` launches, as a CUDA graph. It runs once before, because the first run compiles
    kernels.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph


def plan_problem(sparse: SparseModel) -> str | None:
    """Why prompts of a plan cannot be captured whatever the model, or None."""
    settings = sparse.plan.settings
    selector = settings.selector
    if not isinstance(selector, Selector):
        return "a token rule computes densely, token by token"
    if selector.reads_earlier_tokens or selector.needs_text_order:
        return "its selector reads tokens of earlier chunks"
    if settings.scheduler.per_block is not None and sparse.backend in READS_OFFSETS:
        return f"backend {sparse.backend} reads how many neurons each block keeps; use triton"
    return next((ffn.waits for ffn in sparse.prepared.values() if ffn.waits), None)


def problem(sparse: SparseModel, cache: Any, chunk: int) -> str | None:
    """Why chunks of `chunk` tokens cannot be captured, or None; the model is entered."""
    if sparse.current is None:
        return "the model does not run sparse; capture inside `with sparse_model.entered()`"
    size = sparse.plan.settings.block_size
    if chunk < 1 or chunk % size:
        return f"chunk: expected a multiple of the plan's block_size {size}, received {chunk}"
    if sparse.plan.mixture:
        return "a mixture of experts reads which tokens each expert gets"
    layers = list(getattr(cache, "layers", []))
    for layer in layers:
        length = getattr(layer, "cumulative_length", None)
        if not isinstance(length, Tensor) or getattr(layer, "is_sliding", False):
            name = type(layer).__name__
            return f"cache: expected a StaticCache without sliding windows, it has a {name}"
    if not layers or layers[0].max_cache_len < chunk:
        return f"cache: expected a StaticCache with room for a chunk of {chunk} tokens"
    return plan_problem(sparse)


class CapturedPrefill:
    """Prefill of one prompt after another, in chunks of `chunk` tokens, into a static cache.

    Made inside `sparse_model.entered()` and valid until that ends. A chunk between the plan's dense
    tokens is replayed; the first and the last ones run as usual. Blocks, cache and logits are those
    of a prefill in such chunks without a graph. Raises CaptureError if that cannot be.

    graph: makes a graph of a function; by default on a CUDA card.
    """

    def __init__(
        self,
        sparse: SparseModel,
        cache: Any,
        chunk: int,
        graph: Callable[[Callable[[], None]], Graph] | None = None,
    ) -> None:
        device = next(sparse.model.parameters()).device
        if graph is None and device.type != "cuda":
            raise CaptureError(f"capture: expected a model on a CUDA card, it is on {device}")
        if reason := problem(sparse, cache, chunk):
            raise CaptureError(f"capture: {reason}")
        assert sparse.current is not None
        self.sparse, self.cache, self.chunk = sparse, cache, chunk
        self.prompt: Prefill = sparse.current
        self.ids = torch.zeros(1, chunk, dtype=torch.int64, device=device)
        self.graph = self.captured(graph or cuda_graph)

    @torch.no_grad()
    def captured(self, make: Callable[[Callable[[], None]], Graph]) -> Graph:
        """The graph of a chunk somewhere between a prompt's dense tokens."""
        prompt, decoder = self.prompt, self.sparse.model.model
        settings, before = self.sparse.plan.settings, (prompt.used, prompt.total)
        start = -(-settings.first_dense // self.chunk) * self.chunk
        prompt.cached = start
        end = start + self.chunk + max(settings.last_dense, 1)
        prompt.prompt_tokens = max(end, self.sparse.plan.min_tokens)
        self.counts = (0, 0)

        def run() -> None:
            used, total = prompt.used, prompt.total
            decoder(self.ids, **with_cache(decoder, self.cache))
            self.counts = (prompt.used - used, prompt.total - total)

        try:
            return make(run)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise CaptureError(
                f"capture: this model's prefill does not allow it: {reason}"
            ) from error
        finally:
            prompt.used, prompt.total = before
            prompt.cached = prompt.prompt_tokens = None
            self.cache.reset()

    def inside(self, start: int, tokens: int) -> bool:
        """Whether the chunk from token `start` of a prompt of `tokens` is sparse throughout."""
        if tokens < self.sparse.plan.min_tokens:
            return False
        span = sparse_span(self.sparse.plan.settings, self.chunk, offset=start, total=tokens)
        return start + self.chunk < tokens and len(span) == self.chunk

    @torch.no_grad()
    def __call__(self, ids: Tensor) -> Tensor:
        """Logits [1, 1, vocabulary] of a prompt's last token, ids [1, T]; the cache then holds the
        prompt and nothing else. Raises CaptureError if the model has left `entered`, ValueError for
        several prompts or one that the cache has no room for.
        """
        if self.sparse.current is not self.prompt:
            raise CaptureError("capture: the model has left `entered`; capture again inside")
        tokens = ids.shape[1]
        room = self.cache.layers[0].max_cache_len
        if len(ids) != 1 or not 0 < tokens <= room:
            raise ValueError(
                f"ids: expected one prompt of 1 to {room} tokens, received {list(ids.shape)}"
            )
        self.cache.reset()
        logits = None
        try:
            self.prompt.prompt_tokens = tokens
            for start in range(0, tokens, self.chunk):
                part = ids[:, start : start + self.chunk]
                if self.inside(start, tokens):
                    self.replay(part)
                else:
                    self.prompt.cached = start
                    options = with_cache(self.sparse.model, self.cache)
                    logits = self.sparse.model(part, logits_to_keep=1, **options).logits
        finally:
            self.prompt.cached = self.prompt.prompt_tokens = None
        assert logits is not None  # the last chunk is never inside
        return logits

    def replay(self, ids: Tensor) -> None:
        """One chunk, ids [1, chunk], by the graph."""
        self.ids.copy_(ids)
        self.graph.replay()
        self.prompt.used += self.counts[0]
        self.prompt.total += self.counts[1]
