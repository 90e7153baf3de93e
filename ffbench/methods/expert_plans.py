"""What a plan for a mixture of experts can have: its experts' blocks are the tokens routed to them,
and most methods were not made for that.
"""

from ffbench.methods.plan import PlanSettings
from ffbench.methods.selectors import SELECTORS, Selector
from ffbench.methods.similar_blocks import CONSECUTIVE

SCHEDULER = "uniform"


def selector_problem(settings: PlanSettings) -> str | None:
    """Why the selector cannot choose an expert's neurons, or None."""
    selector = settings.selector
    fits = isinstance(selector, Selector) and not selector.reads_earlier_tokens
    if fits:
        return None
    reason = "reads tokens ahead of a block" if selector.name in SELECTORS else "is a token rule"
    return f"selector: {selector.name!r} {reason}; choose trained or static"


def compensator_problem(settings: PlanSettings) -> str | None:
    """Why the compensator cannot be fitted for experts, or None."""
    compensator = settings.compensator
    set_ = {name: value for name, value in vars(compensator.refinements()).items() if value}
    if compensator.refits_for_kept:
        return f"compensator: {compensator.name!r} is fitted to the kept neurons; choose bias"
    if set_:
        zeros = " ".join(f"compensator.{name}=0" for name in set_)
        return f"compensator: {', '.join(set_)} follow the closed form; set {zeros}"
    return None


def expert_plan_problems(settings: PlanSettings) -> list[str]:
    """One sentence per setting that a plan for routed experts cannot have."""
    s = settings
    found = [selector_problem(s), compensator_problem(s)]
    if s.scheduler.name != SCHEDULER:
        found.append(f"scheduler: {s.scheduler.name!r} is for dense models; choose {SCHEDULER}")
    if s.hot_fraction:
        found.append(f"hot_fraction: {s.hot_fraction} is for dense models; set hot_fraction=0")
    if s.group_size != 1:
        found.append(f"group_size: {s.group_size} is for dense models; set group_size=1")
    if s.blocks != CONSECUTIVE:
        found.append(f"blocks: {s.blocks!r} is for dense models; choose {CONSECUTIVE}")
    return [problem for problem in found if problem]
