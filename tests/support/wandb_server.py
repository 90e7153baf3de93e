"""A small W&B server on loopback: a test double for the real client and agent.

It encodes our reading of the protocol of wandb 0.31. Green tests show what the client sends, not
that the real service takes it. Not covered: pausing, reading histories back, artifact downloads,
permissions. What it answers is in wandb_runs.py and wandb_sweeps.py."""

import gzip
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from wandb_runs import ENTITY, RunAnswers
from wandb_sweeps import SweepAnswers

KEY = "k" * 40


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that ends closes its connections hard: no error of the test."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class AccountAnswers:
    """GraphQL answers by operation, about the user and the server itself."""

    def Viewer(self, _: dict[str, Any]) -> dict[str, Any]:
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

    def ServerFeaturesQuery(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}


class FakeWandb:
    """The server's memory, its HTTP face and the environment that makes a client use it.

    While `answering` is clear, GraphQL requests wait."""

    def __init__(self) -> None:
        self.answering = threading.Event()
        self.answering.set()
        self.lock = threading.RLock()
        self._http = _QuietServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._of_runs = RunAnswers(self.url)
        self._of_sweeps = SweepAnswers(self._of_runs.runs)
        self.runs, self.artifacts = self._of_runs.runs, self._of_runs.artifacts
        self.sweeps = self._of_sweeps.sweeps

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
        """The answer to one GraphQL request; empty for an operation that is not covered."""
        match = re.search(r"(?:query|mutation)\s+(\w+)", query)
        operation = match.group(1) if match else "anonymous"
        with self.lock:
            for part in (AccountAnswers(), self._of_runs, self._of_sweeps):
                if hasattr(part, operation):
                    answer: dict[str, Any] = getattr(part, operation)(variables)
                    return answer
            return {}

    def stream(self, name: str, body: dict[str, Any]) -> None:
        """Take one piece of a run's file stream."""
        with self.lock:
            self._of_runs.stream(name, body)


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
            self._reply({})

        def do_POST(self) -> None:
            body = self._body()
            if self.path == "/graphql":
                server.answering.wait()
                asked = json.loads(body)
                self._reply({"data": server.graphql(asked["query"], asked.get("variables") or {})})
            elif self.path.endswith("/file_stream"):
                server.stream(self.path.split("/")[-2], json.loads(body))
                self._reply({"exitcode": None, "limits": {}})
            else:
                self._reply({}, 404)

    return Handler
