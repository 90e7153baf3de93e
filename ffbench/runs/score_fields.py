"""The fields of a result that come from scored answers. Standard library only."""

from dataclasses import dataclass

from ffbench.runs.records import about


@dataclass(frozen=True, kw_only=True)
class GoldFields:
    """Likelihood of the gold answers, dense and sparse. Every task counts the same."""

    nll: float | None = about("gold answer, nats per token", None)
    nll_dense: float | None = about("gold answer, dense, nats per token", None)
    nll_increase_abs: float | None = about("nll - nll_dense, nats per token", None)
    nll_increase_abs_low: float | None = about("95% bootstrap over paired records", None)
    nll_increase_abs_high: float | None = about("95% bootstrap over paired records", None)
    nll_increase_rel: float | None = about("nll_increase_abs / nll_dense", None)
    nll_increase_rel_low: float | None = about("95% bootstrap over paired records", None)
    nll_increase_rel_high: float | None = about("95% bootstrap over paired records", None)
    gold_ppl_ratio: float | None = about(
        "gold-answer perplexity, sparse / dense: the primary metric of tasks", None
    )
    gold_ppl_ratio_low: float | None = about("95% bootstrap over paired records", None)
    gold_ppl_ratio_high: float | None = about("95% bootstrap over paired records", None)


@dataclass(frozen=True, kw_only=True)
class Power:
    """What a claim that the relative loss is small would need."""

    claim: float = about("relative loss that is claimed not to be reached")
    loss_rel_se: float | None = about("standard error of loss_rel", None)
    records_if_loss_is_as_measured: int | None = about(
        "records at which the interval ends below the claim; null: never", None
    )
    records_if_loss_is_0: int | None = about("the same if the true loss is 0", None)


@dataclass(frozen=True, kw_only=True)
class LossFields(GoldFields):
    """Scores of records, dense and sparse. Every task counts the same."""

    n: int = about("records")
    score: float | None = about("points, 0 to 100; null if nothing was decoded", None)
    score_dense: float | None = about("points, dense, on the same records", None)
    chance: float | None = about("points, score of a guess; null for a single record", None)
    loss_abs: float | None = about("points, dense - sparse", None)
    loss_abs_low: float | None = about("95% bootstrap over paired records", None)
    loss_abs_high: float | None = about("95% bootstrap over paired records", None)
    loss_rel: float | None = about("loss_abs / score_dense; the interval resamples both", None)
    loss_rel_low: float | None = about("95% bootstrap over paired records", None)
    loss_rel_high: float | None = about("95% bootstrap over paired records", None)
    loss_over_chance: float | None = about("loss_abs / (score_dense - chance)", None)
    loss_over_chance_low: float | None = about("95% bootstrap over paired records", None)
    loss_over_chance_high: float | None = about("95% bootstrap over paired records", None)
    power: Power | None = about("records that a claim would need", None)


@dataclass(frozen=True, kw_only=True)
class GoldSummary:
    """Gold likelihoods over all tasks, those at chance and outside the headline included."""

    n: int = about("records")
    task_mean: GoldFields | None = about("every task counts the same", None)
    record_mean: GoldFields | None = about("every record counts the same", None)


@dataclass(frozen=True, kw_only=True)
class TaskFields(LossFields):
    """One task: its losses, and what was scored."""

    metric: str | None = about("how an answer is scored", None)
    category: str | None = about("category of LongBench, or ours", None)
    headline: bool | None = about("counts in the means", None)
    above_chance: bool | None = about("the dense score is above chance", None)
    truncated: int | None = about("prompts that were shortened", None)
    tokens_cut: float | None = about("tokens, mean over shortened prompts", None)
    prompt_tokens: float | None = about("tokens, mean", None)
    density_used: float | None = about("FFN neurons computed in the prompts over dense", None)
    flops_used: float | None = about("FFN FLOPs of the prompts over dense, all included", None)
    buckets: dict[str, LossFields] | None = about(
        "LongBench-E only: length in words -> losses of the records there", None
    )
    scorer_failures: int | None = about(
        "answers, dense and sparse, that count 0 points since the scorer failed; null in older "
        "results",
        None,
    )
