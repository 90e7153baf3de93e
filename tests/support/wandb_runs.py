"""What the test double of W&B answers about runs, their files and their artifacts."""

import json
from dataclasses import dataclass, field
from typing import Any

ENTITY = "tester"


@dataclass
class FakeRun:
    """What the server knows of one run."""

    name: str
    state: str = "running"
    exit_code: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    sweep: str | None = None
    upserts: int = 0


class RunAnswers:
    """GraphQL answers by operation; `url` is where files are to be sent."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.runs: dict[str, FakeRun] = {}
        self.artifacts: list[str] = []

    def stream(self, name: str, body: dict[str, Any]) -> None:
        """Take one piece of a run's file stream: history, summary, exit code."""
        run = self.runs.setdefault(name, FakeRun(name))
        for file, content in (body.get("files") or {}).items():
            rows = (
                [json.loads(line) for line in content["content"]]
                if file.endswith((".jsonl", ".json"))
                else []
            )
            if file == "wandb-history.jsonl":
                run.history += rows
            elif file == "wandb-summary.json" and rows:
                run.summary = rows[-1]
        if body.get("complete"):
            run.exit_code = body.get("exitcode")
            run.state = "failed" if run.exit_code else "finished"

    def RunResumeStatus(self, given: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(given["name"])
        bucket = (
            None
            if run is None
            else {
                "name": run.name,
                "id": run.name,
                "summaryMetrics": json.dumps(run.summary),
                "displayName": run.name,
                "logLineCount": 0,
                "historyLineCount": len(run.history),
                "eventsLineCount": 0,
                "eventsTail": "[]",
                "historyTail": json.dumps([json.dumps(row) for row in run.history[-1:]]),
                "config": json.dumps(run.config),
                "tags": [],
                "notes": None,
                "wandbConfig": json.dumps({"t": 1}),
            }
        )
        return {
            "model": {
                "id": "p",
                "name": "ffbench",
                "entity": {"id": "e", "name": ENTITY},
                "bucket": bucket,
            }
        }

    def UpsertBucket(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given.get("name") or given["id"]
        inserted = name not in self.runs
        run = self.runs.setdefault(name, FakeRun(name))
        run.state, run.upserts = "running", run.upserts + 1
        run.sweep = given.get("sweep") or run.sweep
        if given.get("config"):
            run.config = json.loads(given["config"])
        if given.get("summaryMetrics"):
            run.summary = json.loads(given["summaryMetrics"])
        return {
            "upsertBucket": {
                "inserted": inserted,
                "bucket": {
                    "id": name,
                    "name": name,
                    "displayName": given.get("displayName") or name,
                    "description": None,
                    "config": json.dumps(run.config),
                    "sweepName": run.sweep,
                    "historyLineCount": len(run.history),
                    "project": {
                        "id": "p",
                        "name": given.get("project") or "ffbench",
                        "entity": {"id": "e", "name": ENTITY},
                    },
                },
            }
        }

    def CreateRunFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        self.runs[given["run"]].files |= set(given["files"])
        files = [
            {"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in given["files"]
        ]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}

    def ArtifactType(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def CreateArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        asked = given["input"]
        name = asked.get("artifactCollectionName") or asked["artifactCollectionNames"][0]
        self.artifacts.append(name)
        return {
            "createArtifact": {
                "artifact": {
                    "id": f"A{len(self.artifacts)}",
                    "state": "PENDING",
                    "artifactSequence": {"id": "S", "latestArtifact": None},
                }
            }
        }

    def CreateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:
        file = {
            "id": "F",
            "name": "m",
            "displayName": "m",
            "uploadHeaders": [],
            "uploadUrl": f"{self.url}/upload/manifest",
        }
        return {"createArtifactManifest": {"artifactManifest": {"id": "M", "file": file}}}

    def UpdateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:
        return {
            "updateArtifactManifest": self.CreateArtifactManifest(given)["createArtifactManifest"]
        }

    def CreateArtifactFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        edges = [
            {
                "node": {
                    "id": spec["name"],
                    "name": spec["name"],
                    "displayName": spec["name"],
                    "storagePath": spec["name"],
                    "uploadUrl": f"{self.url}/upload/{spec['name']}",
                    "uploadHeaders": [],
                    "uploadMultipartUrls": None,
                    "artifact": {"id": spec["artifactID"]},
                }
            }
            for spec in given["input"]["artifactFiles"]
        ]
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def ClientIDMapping(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"clientIDMapping": {"serverID": f"A{len(self.artifacts)}"}}

    def CommitArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": "d"}}}
