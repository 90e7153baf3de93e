"""A stage of work whose result is kept: declared once, keyed by everything it is made from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ffbench.runs.identity import content_key


@dataclass(frozen=True)
class Stage:
    """One node of the graph that leads to a run's result.

    name: of the stage and of its folder. version: raised whenever its code gives other results.
    parameters: what changes its result, in plain values, and nothing else. inputs: the stages whose
    results it reads. resumable: an interrupted attempt is continued instead of repeated. stored: it
    has a folder; other stages only name data that others read.
    """

    name: str
    version: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple["Stage", ...] = ()
    resumable: bool = False
    stored: bool = True

    @cached_property
    def key(self) -> str:
        """16 hex digits over name, version, parameters and the keys of the inputs."""
        return content_key(
            {
                "stage": self.name,
                "version": self.version,
                "parameters": self.parameters,
                "inputs": [stage.key for stage in self.inputs],
            }
        )

    def all(self) -> Iterator["Stage"]:
        """Every stage that this one is made from, inputs first, and itself; each once."""
        seen: set[str] = set()

        def visit(stage: "Stage") -> Iterator["Stage"]:
            if stage.key in seen:
                return
            seen.add(stage.key)
            for source in stage.inputs:
                yield from visit(source)
            yield stage

        yield from visit(self)
