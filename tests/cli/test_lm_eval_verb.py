"""`python -m ffbench lm_eval`: whatever lm-eval raises is one line that names where it came from."""

from typing import Any

import pytest

from ffbench.cli.main import main

pytest.importorskip("lm_eval")


def foreign(code: str) -> Any:
    """A function of a module called lm_eval.tasks that runs `code`."""
    namespace: dict[str, Any] = {"__name__": "lm_eval.tasks"}
    exec(f"def run():\n    {code}", namespace)
    return namespace["run"]


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("''[0]", "lm_eval: IndexError: string index out of range (raised by lm_eval.tasks)"),
        ("{}['x']", "lm_eval: KeyError: 'x' (raised by lm_eval.tasks)"),
        ("assert False", "lm_eval: AssertionError (raised by lm_eval.tasks)"),
        ("raise ValueError('no such model')", "lm_eval: no such model"),
        ("open('/not/there')", "/not/there: No such file or directory"),
    ],
)
def test_errors_of_lm_eval_are_one_line(
    code: str, line: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", foreign(code))
    assert main(["lm_eval", "--tasks", "x"]) == 2
    assert capsys.readouterr().err == f"error: {line}\n"


def test_our_own_errors_stay_our_own(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = foreign("{}['x']")
    run.__globals__["__name__"] = "ffbench.integrations.lm_eval.model"
    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", run)
    assert main(["lm_eval", "--tasks", "x"]) == 1
    assert "please report it" in capsys.readouterr().err
