"""FFBench from Python: runs and evaluations that return data frames."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from ffbench.methods.plan import SparsePlan


def run(*settings: str) -> "pd.DataFrame":
    """Do the runs of a command line in this process; the frame `runs` of docs/frames.md.

    `settings` are those of `python -m ffbench`, for example "model=smollm2_135m", "sparsity=0,0.5".
    Runs that are done are read, not repeated.

    Raises:
        ConfigProblems: settings that are not valid, all at once, before any work.

    """
    from ffanalysis import load
    from ffbench.cli.compose import ConfigProblems, jobs_of
    from ffbench.cli.preflight import job_problems
    from ffbench.experiment.execute import execute

    jobs = jobs_of(list(settings))
    if problems := job_problems(jobs):
        raise ConfigProblems(problems)
    keys = [execute(job.settings, ["ffbench.run", *settings]) for job in jobs]
    return load.runs(jobs[0].settings.output_dir, keys)


def evaluate(
    model: Any,
    tokenizer: Any,
    plan: "SparsePlan",
    *,
    windows: int = 8,
    contexts: Sequence[int] = (1536,),
    tails: Sequence[str] = ("continuation", "copy"),
    part: str = "heldout",
) -> "pd.DataFrame":
    """What a plan changes for the tokens after a sparse prompt, for a model that is in memory.

    One row per window and tail: text, document, context, tail, tokens, kl (nats per token),
    nll_dense, nll_sparse, top1_agreement. `windows` are per text and context; `contexts` are prompt
    lengths in tokens; docs/measuring.md defines tails and parts.
    """
    import pandas as pd

    from ffbench.evaluation.fidelity import measure, save_dense
    from ffbench.experiment.fidelity_cases import fidelity_cases
    from ffbench.settings import FidelitySettings

    wanted = FidelitySettings(
        windows=windows, contexts=list(contexts), tails=list(tails), prompt_windows=0, part=part
    )
    cases = fidelity_cases(wanted, tokenizer)
    with TemporaryDirectory(prefix="ffbench-") as folder:
        save_dense(model, cases, Path(folder))
        measured = measure(model, plan, cases, Path(folder))
    return pd.DataFrame(measured.rows)
