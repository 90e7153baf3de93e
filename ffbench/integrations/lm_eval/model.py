"""The lm-eval model `ffbench`: Hugging Face models whose prompts run by a sparse plan."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from ffbench.data.encoding import encode, special_head
from ffbench.evaluation.answers import PROTOCOLS
from ffbench.evaluation.chat_template import (
    TEMPLATE_VALUES,
    PromptError,
    chat_frame,
    has_template,
    stopped_clock,
)
from ffbench.evaluation.decoding import Decoder, Ending, ending
from ffbench.evaluation.prompts import (
    FramedText,
    PromptIds,
    cut_middle,
    cut_to_fit,
    prompt_ids,
    stop_ids,
)
from ffbench.integrations.lm_eval import MODEL
from ffbench.integrations.lm_eval.plans import load_plan
from ffbench.integrations.lm_eval.records import PREFIX, record_of
from ffbench.models.checks import check_loaded
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.tasks.registry import get_spec

Encoded = tuple[tuple[str, str], list[int], list[int]]


@dataclass(frozen=True)
class Asked:
    """One request to answer: its place, prompt, end, and the texts at which the answer is cut."""

    place: int
    prompt: PromptIds
    rule: Ending
    until: tuple[str, ...]


@register_model(MODEL)
class FFBenchLM(HFLM):
    """HFLM with a plan's sparse prefill, middle truncation, every end token, thinking off; greedy
    only.

    Besides HFLM's arguments: `plan` (a folder; none: dense), `backend` of ffkernels, `protocol`
    ("whole" or "context", the latter for FFBench's own LongBench tasks only) and `model_name` (the
    name in the plan's model config; with it the plan's model fingerprint is checked, without it
    only its sizes). Raises ValueError for an argument out of its range.
    """

    def __init__(
        self,
        *arguments: Any,
        plan: str | None = None,
        backend: str = "auto",
        protocol: str = "whole",
        model_name: str | None = None,
        **options: Any,
    ) -> None:
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol: {protocol!r} is unknown; valid: {', '.join(PROTOCOLS)}")
        if options.get("enable_thinking"):
            raise ValueError("enable_thinking: this model answers with thinking off; leave it out")
        if str(options.get("batch_size", 1)).startswith("auto"):
            raise ValueError(
                "batch_size: give a number; 'auto' would measure another batch than the one "
                "that is scored"
            )
        options["chat_template_args"] = (options.get("chat_template_args") or {}) | TEMPLATE_VALUES
        super().__init__(*arguments, **options)
        self.model.requires_grad_(False)
        self.backend_name, self.protocol = backend, protocol
        self.plan = None
        if plan:
            check_loaded(self.model, self.tokenizer)
            self.plan = load_plan(Path(plan), self.model, model_name, options)

    @contextmanager
    def decoder(self) -> Iterator[Decoder]:
        """The model as a decoder of prompts, sparse by the plan if there is one."""
        opened = (
            sparse_prefill(self.model, self.plan, self.backend_name) if self.plan else nullcontext()
        )
        with opened as sparsity:
            decoder = Decoder(self.model, self.tokenizer.pad_token_id or 0, sparsity, self.protocol)
            yield decoder
        decoder.warn_about_dense_prompts(MODEL)

    def apply_chat_template(self, *arguments: Any, **options: Any) -> str:
        """As HFLM's, with a clock that does not move for templates that print the date."""
        with stopped_clock():
            return super().apply_chat_template(*arguments, **options)

    def own_tasks_only(self) -> None:
        """Raise ValueError if the protocol needs a question that only FFBench's tasks mark."""
        if self.protocol == "context":
            raise ValueError(
                f"protocol=context: only the tasks {PREFIX}* say where the question begins; use "
                "protocol=whole"
            )

    def asked(self, place: int, request: Instance) -> Asked:
        """A request as token ids: by LongBench's rules for FFBench's own tasks, else by lm-eval's
        text.
        """
        text, options = request.args
        chosen = normalize_gen_kwargs(options, self.max_gen_toks)
        if chosen.get("do_sample") or chosen.get("temperature"):
            raise ValueError(
                f"{request.task_name}: the model ffbench decodes greedily; remove do_sample and "
                "temperature"
            )
        if (request.task_name or "").startswith(PREFIX):
            spec = get_spec(request.doc["task"])
            prompt = prompt_ids(self.tokenizer, spec, record_of(request.doc), self.max_length)
            return Asked(place, prompt, ending(self.model, self.tokenizer, spec), ())
        self.own_tasks_only()
        until, limit = tuple(stop for stop in chosen["until"] if stop), chosen["max_gen_toks"]

        def finished(ids: list[int]) -> bool:
            said = self.tokenizer.decode(ids, skip_special_tokens=True)
            return any(stop in said for stop in until)

        return Asked(
            place,
            self.framed(text, limit),
            Ending(stop_ids(self.model, self.tokenizer), limit, 0, finished),
            until,
        )

    def framed(self, text: str, new_tokens: int) -> PromptIds:
        """Ids of a text with room for `new_tokens`: cut in the middle, inside the chat template if
        the text has it.
        """
        head, start, end = special_head(self.tokenizer), 0, len(text)
        if has_template(self.tokenizer):
            before, after = chat_frame(self.tokenizer)
            framed = text.startswith(before) and text.endswith(after)
            if framed and len(text) >= len(before) + len(after):
                head, start, end = [], len(before), len(text) - len(after)
        ids = encode(self.tokenizer, text) if head else []
        if head and ids[: len(head)] == head:  # the text brings its own begin token
            head = []
        return cut_to_fit(
            self.tokenizer,
            FramedText(head=head, text=text, start=start, question=end, end=end),
            self.max_length - new_tokens,
            setting=f"max_length={self.max_length}",
            answer=f"an answer of up to {new_tokens} tokens",
        )

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Greedy answers, prompts of similar length together; each goes to lm-eval's cache as it
        comes.
        """
        asked = sorted(
            (self.asked(i, request) for i, request in enumerate(requests)),
            key=lambda one: (one.rule.limit, len(one.prompt.ids), one.place),
        )
        found = [""] * len(asked)
        size = int(self.batch_size)
        with (
            self.decoder() as decoder,
            tqdm(total=len(asked), disable=disable_tqdm, desc="ffbench: answers") as bar,
        ):
            for start in range(0, len(asked), size):
                batch = asked[start : start + size]
                answers = decoder.greedy(
                    decoder.prefill([one.prompt for one in batch]), [one.rule for one in batch]
                )
                for one, ids in zip(batch, answers, strict=True):
                    said = self.tokenizer.decode(ids, skip_special_tokens=True)
                    found[one.place] = postprocess_generated_text(said, list(one.until), None)
                    self.cache_hook.add_partial(
                        "generate_until", requests[one.place].args, found[one.place]
                    )
                bar.update(len(batch))
        return found

    def check_lengths(self, texts: Any, context: list[int], continuation: list[int]) -> None:
        """Refuse what lm-eval's `hf` refuses: an empty context or continuation, one too long.

        Raises PromptError. Without this an empty continuation would have log-likelihood 0 and win.
        """
        shown = repr(texts[1][:40]) if texts else "of token ids"
        if not continuation:
            raise PromptError(f"lm_eval: the tokenizer encodes the continuation {shown} to nothing")
        if not context:
            raise PromptError(f"lm_eval: the context of the continuation {shown} has no tokens")
        if len(continuation) > self.max_length:
            raise PromptError(
                f"lm_eval: the continuation {shown} has {len(continuation)} tokens, more than "
                f"max_length={self.max_length}"
            )

    def _loglikelihood_tokens(
        self, requests: list[Encoded], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """Log-probability of each continuation after its context; a context that several share is
        read once.
        """
        self.own_tasks_only()
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, (texts, context, continuation) in enumerate(requests):
            self.check_lengths(texts, context, continuation)
            # the last token is only predicted, never read: one more fits, as in lm-eval's `hf`
            room = self.max_length + 1 - len(continuation)
            prompt = cut_middle([], context, [], room, len(context))
            groups.setdefault(tuple(prompt.ids), []).append(place)
        ordered = sorted(groups.items(), key=lambda pair: len(pair[0]))
        found: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        size = override_bs or int(self.batch_size)
        with (
            self.decoder() as decoder,
            tqdm(total=len(requests), disable=disable_tqdm, desc="ffbench: likelihoods") as bar,
        ):
            for start in range(0, len(ordered), size):
                batch = ordered[start : start + size]
                state = decoder.prefill([PromptIds(list(ids), len(ids), 0) for ids, _ in batch])
                for turn in range(max(len(places) for _, places in batch)):
                    wanted = [
                        requests[places[turn]][2] if turn < len(places) else []
                        for _, places in batch
                    ]
                    for (_, places), one in zip(
                        batch, decoder.likelihoods(state, wanted), strict=True
                    ):
                        if turn < len(places):
                            found[places[turn]] = (sum(one.tokens), one.greedy)
                            self.cache_hook.add_partial(
                                "loglikelihood", requests[places[turn]][0], found[places[turn]]
                            )
                            bar.update()
        return found

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-probability of whole texts, window by window; a window is one prompt, so it runs by
        the plan.
        """
        self.own_tasks_only()
        found = []
        with self.decoder() as decoder:
            for request in tqdm(requests, disable=disable_tqdm, desc="ffbench: texts"):
                windows = get_rolling_token_windows(
                    token_list=self.tok_encode(request.args[0]),
                    context_len=1,
                    prefix_token=self.prefix_token_id,
                    max_seq_len=self.max_length,
                )
                pairs = map(make_disjoint_window, windows)
                found.append(
                    sum(decoder.score(context + text, len(text)) for context, text in pairs)
                )
                self.cache_hook.add_partial("loglikelihood_rolling", request.args, found[-1])
        return found
