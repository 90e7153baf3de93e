"""What a run cannot do yet if its model is a mixture of experts."""

from collections.abc import Mapping
from typing import Any

from ffbench.experiment.identity import plan_settings
from ffbench.methods.expert_plans import expert_plan_problems
from ffbench.models.config_checks import experts_setting, mixture_problem
from ffbench.models.experts import SPARSE_MIXTURES
from ffbench.settings import RunSettings


def mixture_problems(settings: RunSettings, config: Mapping[str, Any]) -> list[str]:
    """One sentence per setting of a sparse run that goes with dense models only; none if the
    model's configuration is that of one, or of a mixture that is refused as a whole.
    """
    unknown = mixture_problem(config, SPARSE_MIXTURES)
    if settings.dense or unknown or experts_setting(config) is None:
        return []
    problems = expert_plan_problems(plan_settings(settings))
    if settings.objective.metric == "answer":
        problems.append("objective.metric: 'answer' is for dense models; choose output")
    if settings.speed.rounds:
        problems.append(
            "speed.rounds: the speed of experts is not measured yet; set speed.rounds=0"
        )
    kind = config.get("model_type", "this model")
    return [f"{problem} (model: {kind} is a mixture of experts)" for problem in problems]
