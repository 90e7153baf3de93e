"""The batch that vLLM is running: its layout, made once for all layers, and what it counted."""

import logging
import time
import weakref
from typing import Any

import torch
from torch import Tensor

from ffbench.integrations.vllm.layer import rows_of
from ffbench.integrations.vllm.metrics import CountsFile
from ffbench.integrations.vllm.positions import BatchLayout, batch_layout, requests_of
from ffbench.methods.plan import SparsePlan
from ffbench.models.prefill_state import Prefill

LOG_SECONDS = 10.0  # as often as vLLM logs its own statistics
logger = logging.getLogger("vllm.ffbench")


class CurrentBatch:
    """Rows, requests and positions of the pass that runs now, from vLLM's model runner (V1).

    Passes without attention metadata (profiling, warm-up) are dense and count nowhere.
    """

    def __init__(self, plan: SparsePlan, runner: Any, rank: int = 0) -> None:
        self.plan, self.runner, self.rank = plan, runner, rank
        self.prefill = Prefill()
        self.prompt_rows = 0
        self._context: Any = None
        self._layout: BatchLayout | None = None
        self._dense: Tensor | None = None
        self._logged = float("-inf")

    def layout(self, context: Any, rows: int, device: torch.device) -> BatchLayout | None:
        """The layout of a pass over `rows` rows; None if all are dense and none counts."""
        if context.attn_metadata is None:
            return None
        if self._context is None or self._context() is not context:
            self._layout = self._made(rows)
            self._dense = rows_of(self._layout.dense, device) if self._layout.sparse else None
            self._context = weakref.ref(context)
            self.report()
            self.prompt_rows += self._layout.prompt_rows
        return self._layout

    @property
    def dense_rows(self) -> Tensor | None:
        """The dense rows of the current layout on the device, if it has sparse ones too."""
        return self._dense

    def _made(self, rows: int) -> BatchLayout:
        batch = self.runner.input_batch
        n = batch.num_reqs
        starts = self.runner.query_start_loc.np[: n + 1].tolist()
        cached = batch.num_computed_tokens_cpu[:n].tolist()
        lengths = [before + starts[i + 1] - starts[i] for i, before in enumerate(cached)]
        prompts = batch.num_prompt_tokens[:n].tolist()
        requests = requests_of(starts if n else [0], lengths, prompts)
        for request in requests:
            self.prefill.too_short(request.prompt_tokens, self.plan.min_tokens)
        return batch_layout(self.plan.settings, requests, rows, self.plan.min_tokens)

    def publish(self, counts: CountsFile) -> None:
        """Write the density so far to where /metrics finds it."""
        if self.prefill.total:
            counts.write(self.prompt_rows, self.prefill.density)

    def report(self, now: float | None = None) -> None:
        """Log the density so far, at most once in `LOG_SECONDS` and by the first rank only."""
        now = time.monotonic() if now is None else now
        if self.rank or not self.prefill.total or now - self._logged < LOG_SECONDS:
            return
        self._logged = now
        logger.info(
            "ffbench: density %.3f of the FFN over %d prompt tokens so far (1 is dense)",
            self.prefill.density,
            self.prompt_rows,
        )
