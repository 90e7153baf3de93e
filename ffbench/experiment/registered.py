"""What a plugin can register: methods, tasks and layouts of models."""

from ffbench.methods.chosen import registered_methods


def registered() -> set[str]:
    """KIND NAME of every registered method, task and layout."""
    from ffbench.models.layouts import LAYOUTS
    from ffbench.tasks.registry import (
        TASKS,  # imports the built-in tasks, which register themselves
    )

    more = {f"task {name}" for name in TASKS} | {f"layout {layout.name}" for layout in LAYOUTS}
    return registered_methods() | more
