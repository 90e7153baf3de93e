"""A small W&B server on loopback: a test double for the real client and agent.

It encodes our reading of the protocol of wandb 0.31. Green tests show what the client sends, not
that the real service takes it. A grid is handed out in order; random and bayes trials are drawn at
random, and a bayes search learns nothing. Early termination is one rule, not Hyperband: a trial
whose metric is worse than the best of the earlier trials' at the report number `min_iter` is
stopped. Not covered: pausing, reading histories back, artifact downloads, permissions."""

import gzip
import itertools
import json
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import yaml

from ffbench.tracking.sweep_file import random_trials

ENTITY, KEY = "tester", "k" * 40


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that ends closes its connections hard: no error of the test."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


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


@dataclass
class FakeSweep:
    """A sweep and the trials that were not handed out yet."""

    name: str
    config: str
    pending: list[dict[str, Any]]
    handed: list[str] = field(default_factory=list)
    stopped: set[str] = field(default_factory=set)


class FakeWandb:
    """The server's memory, its HTTP face and the environment that makes a client use it."""

    def __init__(self) -> None:
        self.runs: dict[str, FakeRun] = {}
        self.sweeps: dict[str, FakeSweep] = {}
        self.artifacts: list[str] = []
        self.operations: list[str] = []
        self.uploads: list[str] = []
        self.stall = threading.Event()
        self.lock = threading.RLock()
        self._http = _QuietServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop answering and close the port."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._http.server_close()
            self._thread.join()

    def environment(self) -> dict[str, str]:
        """Variables that point a client here."""
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": KEY,
            "WANDB_ENTITY": ENTITY,
            "WANDB_PROJECT": "ffbench",
            "WANDB_MODE": "online",
            "WANDB_SILENT": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The answer to one GraphQL request."""
        match = re.search(r"(?:query|mutation)\s+(\w+)", query)
        operation = match.group(1) if match else "anonymous"
        with self.lock:
            self.operations.append(operation)
            answer = getattr(self, f"_{operation}", None)
            return answer(variables) if answer else {}

    def stream(self, name: str, body: dict[str, Any]) -> None:
        """Take one piece of a run's file stream: history, summary, exit code."""
        with self.lock:
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

    def _Viewer(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "viewer": {
                "id": "VXNlcjox",
                "entity": ENTITY,
                "username": ENTITY,
                "flags": "{}",
                "email": None,
                "admin": False,
                "teams": {"edges": [{"node": {"name": ENTITY}}]},
            }
        }

    def _ServerFeaturesQuery(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _RunResumeStatus(self, given: dict[str, Any]) -> dict[str, Any]:
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

    def _UpsertBucket(self, given: dict[str, Any]) -> dict[str, Any]:
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

    def _CreateRunFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        self.runs[given["run"]].files |= set(given["files"])
        files = [
            {"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in given["files"]
        ]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}

    def _ArtifactType(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def _CreateArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
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

    def _CreateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:
        file = {
            "id": "F",
            "name": "m",
            "displayName": "m",
            "uploadHeaders": [],
            "uploadUrl": f"{self.url}/upload/manifest",
        }
        return {"createArtifactManifest": {"artifactManifest": {"id": "M", "file": file}}}

    def _UpdateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:
        return {
            "updateArtifactManifest": self._CreateArtifactManifest(given)["createArtifactManifest"]
        }

    def _CreateArtifactFiles(self, given: dict[str, Any]) -> dict[str, Any]:
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

    def _ClientIDMapping(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"clientIDMapping": {"serverID": f"A{len(self.artifacts)}"}}

    def _CommitArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": "d"}}}

    def _UpsertSweep(self, given: dict[str, Any]) -> dict[str, Any]:
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

    def _SweepWithRuns(self, given: dict[str, Any]) -> dict[str, Any]:
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

    def _CreateAgent(self, given: dict[str, Any]) -> dict[str, Any]:
        sweep = next(value for value in given.values() if value in self.sweeps)
        return {"createAgent": {"agent": {"id": sweep}}}

    def _Heartbeat(self, given: dict[str, Any]) -> dict[str, Any]:
        sweep = self.sweeps[given["id"]]
        commands: list[dict[str, Any]] = []
        running = json.loads(given["runState"])
        for name in running:
            if self._falls_behind(sweep, name):
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

    def _falls_behind(self, sweep: FakeSweep, name: str) -> bool:
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


def _handler(server: FakeWandb) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Quiet."""

        def _body(self) -> bytes:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

        def _reply(self, value: Any, status: int = 200) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self._reply({"ok": True}, 200 if self.path == "/healthz" else 404)

        def do_PUT(self) -> None:
            self._body()
            with server.lock:
                server.uploads.append(self.path)
            self._reply({})

        def do_POST(self) -> None:
            body = self._body()
            if self.path == "/graphql":
                while server.stall.is_set():
                    time.sleep(0.05)
                asked = json.loads(body)
                self._reply({"data": server.graphql(asked["query"], asked.get("variables") or {})})
            elif self.path.endswith("/file_stream"):
                server.stream(self.path.split("/")[-2], json.loads(body))
                self._reply({"exitcode": None, "limits": {}})
            else:
                self._reply({}, 404)

    return Handler
