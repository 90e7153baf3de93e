"""One runtime in a process of its own: `python -m benchmarks.peers.worker`.

Reads JSON lines: a request, then {"ids": [...]} for each prompt. Answers each with a line: facts,
then {"seconds": ..., "token": ...}; or {"reason": ...} if it fails, and ends. Needs the standard
library only, so that it runs in the peers' environment too.
"""

import importlib
import json
import os
import sys
import time
from typing import Any, TextIO


def own_output() -> TextIO:
    """The former stdout; what libraries print goes to stderr from now on."""
    kept = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(kept, "w", encoding="utf-8")


def answer(output: TextIO, line: dict[str, Any]) -> None:
    """Send one line."""
    output.write(json.dumps(line) + "\n")
    output.flush()


def main() -> int:
    """0 at the end of the input, 1 after a failure."""
    output = own_output()
    try:
        request = json.loads(sys.stdin.readline())
        engine = importlib.import_module(f"benchmarks.peers.engines.{request['engine']}")
        next_token, facts = engine.load(request)
        answer(output, {"facts": facts})
        for line in sys.stdin:
            ids = json.loads(line)["ids"]
            begin = time.perf_counter()
            token = next_token(ids)
            answer(output, {"seconds": time.perf_counter() - begin, "token": token})
    except Exception as error:  # noqa: BLE001 - a runtime's failure becomes its row
        answer(output, {"reason": reason_of(error)})
        return 1
    return 0


def reason_of(error: Exception) -> str:
    """An error in one line of at most 300 characters: its kind and the last line of its text."""
    lines = [text for text in str(error).splitlines() if text.strip()]
    return f"{type(error).__name__}: {lines[-1].strip() if lines else 'no text'}"[:300]


if __name__ == "__main__":
    sys.exit(main())
