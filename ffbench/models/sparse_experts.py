"""A layer's routed experts on prompts by a plan: each runs the blocks of its own tokens sparse."""

from collections.abc import Callable

import torch
from torch import Tensor

from ffbench.models.block_ffn import SparseSpan
from ffbench.models.experts import routed
from ffbench.models.prefill_state import Prefill
from ffbench.models.sparse_ffn import SparseFFN, prompt_span


class SparseExperts:
    """The experts of one layer in place of their module's forward; the router stays dense.

    Of the prompt's tokens that reach an expert, those in the prompt's dense ends run dense. The
    others, in the order of the text, are cut into blocks: the first block begins with the first of
    them, in each pass anew. An expert's output counts by the router's weight.
    """

    def __init__(self, experts: list[SparseFFN], prompt: Prefill) -> None:
        self.experts, self.prompt, self.plan = experts, prompt, experts[0].plan
        self.dense_forward: Callable[..., Tensor] = experts[0].ffn.module.forward

    def prompt_forward(
        self, hidden: Tensor, choice: Tensor, weights: Tensor, span: SparseSpan
    ) -> Tensor:
        """Output [T, d] of one prompt's tokens hidden [T, d] without padding; the router's choice
        and weights [T, k]. Tokens of `span` run sparse.
        """
        output = torch.zeros_like(hidden)
        for number, expert in enumerate(self.experts):
            tokens, places = routed(choice, number)
            if not len(tokens):
                continue
            start, end = (int((tokens < edge).sum()) for edge in (span.start, span.end))
            # the offset makes the first sparse token begin a block
            y = expert.spanned(hidden[tokens], SparseSpan(start, end, -start))
            y = y * weights[tokens, places, None]
            output.index_add_(0, tokens, y.to(output.dtype))
        return output

    def forward(self, hidden: Tensor, choice: Tensor, weights: Tensor) -> Tensor:
        """The module's forward: hidden [batch * T, d]; padding rows give zeros and count
        nowhere.
        """
        real = self.prompt.real
        if real is None or len(hidden) == len(real):  # one token each, by the final-layer rule
            return self.dense_forward(hidden, choice, weights)
        output = torch.zeros_like(hidden)
        for i, part in enumerate(torch.arange(len(hidden), device=hidden.device).chunk(len(real))):
            rows = part[real[i]]
            span = prompt_span(self.plan, self.prompt, i, len(rows))
            output[rows] = self.prompt_forward(hidden[rows], choice[rows], weights[rows], span)
        return output
