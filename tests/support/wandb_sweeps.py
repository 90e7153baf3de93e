"""What the test double of W&B answers about sweeps and their agents.

A grid is handed out in order; random and bayes trials are drawn at random, and a bayes search
learns nothing. Early termination is one rule, not Hyperband: a trial whose metric is worse than the
best of the earlier trials' at the report number `min_iter` is stopped."""

import itertools
import json
from dataclasses import dataclass, field
from typing import Any

import yaml
from wandb_runs import ENTITY, FakeRun

from ffbench.tracking.sweep_file import random_trials


@dataclass
class FakeSweep:
    """A sweep and the trials that were not handed out yet."""

    name: str
    config: str
    pending: list[dict[str, Any]]
    handed: list[str] = field(default_factory=list)
    stopped: set[str] = field(default_factory=set)


class SweepAnswers:
    """GraphQL answers by operation; `runs` are those that the server knows."""

    def __init__(self, runs: dict[str, FakeRun]) -> None:
        self.runs = runs
        self.sweeps: dict[str, FakeSweep] = {}

    def UpsertSweep(self, given: dict[str, Any]) -> dict[str, Any]:
        name = f"sweep{len(self.sweeps)}"
        config = yaml.safe_load(given["config"])
        trials = handed_out(config)
        self.sweeps[name] = FakeSweep(name, given["config"], trials)
        return {
            "upsertSweep": {
                "configValidationWarnings": [],
                "sweep": {
                    "name": name,
                    "project": {
                        "id": "p",
                        "name": "ffbench",
                        "entity": {"id": "e", "name": ENTITY},
                    },
                },
            }
        }

    def SweepWithRuns(self, given: dict[str, Any]) -> dict[str, Any]:
        sweep = self.sweeps.get(given["sweep"])
        return {
            "project": {
                "sweep": sweep
                and {
                    "id": sweep.name,
                    "name": sweep.name,
                    "method": "grid",
                    "state": "RUNNING",
                    "config": sweep.config,
                    "runs": {"edges": []},
                }
            }
        }

    def CreateAgent(self, given: dict[str, Any]) -> dict[str, Any]:
        sweep = next(value for value in given.values() if value in self.sweeps)
        return {"createAgent": {"agent": {"id": sweep}}}

    def Heartbeat(self, given: dict[str, Any]) -> dict[str, Any]:
        sweep = self.sweeps[given["id"]]
        commands: list[dict[str, Any]] = []
        running = json.loads(given["runState"])
        for name in running:
            if self.falls_behind(sweep, name):
                sweep.stopped.add(name)
                commands.append({"type": "stop", "run_id": name})
        if not running:
            if sweep.pending:
                run_id = f"{sweep.name}trial{len(sweep.handed)}"
                sweep.handed.append(run_id)
                arguments = {key: {"value": value} for key, value in sweep.pending.pop(0).items()}
                commands = [{"type": "run", "run_id": run_id, "program": None, "args": arguments}]
            else:
                commands = [{"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": sweep.name}, "commands": json.dumps(commands)}}

    def falls_behind(self, sweep: FakeSweep, name: str) -> bool:
        config = yaml.safe_load(sweep.config)
        if "early_terminate" not in config or name in sweep.stopped:
            return False
        at, metric = config["early_terminate"]["min_iter"] - 1, config["metric"]
        sign = 1 if metric["goal"] == "minimize" else -1
        reports = {
            one: [
                sign * row[metric["name"]]
                for row in self.runs[one].history
                if metric["name"] in row
            ]
            for one in sweep.handed
            if one in self.runs
        }
        earlier = [
            values[at] for one, values in reports.items() if one != name and len(values) > at
        ]
        mine = reports.get(name, [])
        return len(mine) > at and bool(earlier) and mine[at] > min(earlier)


def handed_out(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Trials of a sweep file, in the order in which they are handed out."""
    if config["method"] == "grid":
        choices = {
            key: spec.get("values", [spec.get("value")])
            for key, spec in config["parameters"].items()
        }
        return [
            dict(zip(choices, values, strict=True))
            for values in itertools.product(*choices.values())
        ]
    return list(
        itertools.islice(random_trials(config["parameters"], seed=0), config.get("run_cap", 3))
    )
