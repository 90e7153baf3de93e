"""docs/baselines.md's generated tables on made lines."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.docs import baselines


def line(selector: str, kl: float, windows: int = 4, **changes: Any) -> dict[str, Any]:
    figures = {
        "kl": kl,
        "kl_low": kl - 0.1,
        "kl_high": kl + 0.1,
        "ppl_ratio": 1.5,
        "windows": windows,
        "window_tokens": 2048,
    }
    return {
        "key": selector,
        "selector": selector,
        "compensator": "none",
        "scheduler": "uniform",
        "sparsity": 0.5,
        "hot_fraction": 0.0,
        "rank": 8,
        "block_size": 128,
        "model": "m",
        "block_wise": selector != "cats",
        "flops": {"selector": 0.01, "ratio": 0.6},
        "cpu": "c",
        "threads": 1,
        "git_sha": "0123456789abcdef",
        "fidelity": {"prose": figures, "code": figures, "mean": figures},
    } | changes


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(baselines, "RESULTS", tmp_path)
    monkeypatch.setattr(baselines, "PAGE", tmp_path / "baselines.md")
    text = "".join(
        f"<!-- {name}: made by `python -m tools.docs.baselines` -->\n<!-- end of {name} -->\n"
        for name in baselines.PARTS
    )
    (tmp_path / "baselines.md").write_text(f"before\n{text}after\n")
    monkeypatch.setattr("sys.argv", ["baselines"])
    return tmp_path


def write(folder: Path, name: str, lines: list[dict[str, Any]]) -> None:
    (folder / name).write_text("".join(json.dumps(one) + "\n" for one in lines))


def test_a_page_without_results_says_so(page: Path) -> None:
    assert baselines.main() == 0
    text = (page / "baselines.md").read_text()
    assert text.count("Not measured yet.") == len(baselines.PARTS) and text.endswith("after\n")


def test_tables_are_sorted_and_the_last_line_counts(page: Path) -> None:
    write(
        page,
        "selectors.jsonl",
        [line("cats", 0.2), line("static", 0.9), line("static", 0.4), line("oracle", 0.1, 16)],
    )
    write(
        page,
        "hot_fraction.jsonl",
        [line("trained", 0.4, hot_fraction=1.0), line("trained", 0.3, hot_fraction=0.5)],
    )
    write(
        page,
        "union.jsonl",
        [
            {
                "model": "m",
                "text": "prose",
                "layer": layer,
                "block": 16,
                "density": 0.5,
                "union": 0.9,
                "mass": 0.8,
                "mass_residual": 0.7,
                "cpu": "c",
                "threads": 1,
                "git_sha": "ab",
                "windows": 2,
            }
            for layer in (0, None)
        ],
    )
    shared = {
        "cpu": "c",
        "threads": 1,
        "git_sha": "ab",
        "model": "m",
        "layers": [0],
        "blocks": 3,
        "block_size": 16,
        "steps": 5,
        "windows_learned": 4,
        "rank": 8,
    }
    figures = {
        "recall_at_k": 0.5,
        "retained_energy": 0.9,
        "retained_energy_gap_closed": 0.25,
        "output_error": 0.1,
        "output_error_gap_closed": 0.5,
    }
    write(
        page,
        "predictors.jsonl",
        [
            shared | figures | {"kind": "form", "name": "mean-linear", "flops_share": 0.0123},
            shared | {"kind": "kl", "name": "mean-linear", "fidelity": line("x", 0.44)["fidelity"]},
        ],
    )
    assert baselines.main() == 0
    text = (page / "baselines.md").read_text()
    assert (
        text.index("16 held-out windows")
        < text.index("`cats` (per token)")
        < text.index("`static`")
    )
    assert (
        "0.400 (0.300 to 0.500)" in text
        and "0.900 (" not in text
        and text.count("| prose | 16 |") == 1
    )
    assert (
        text.index("| 0.5 | 0.300") < text.index("| 1 | 0.400")
        and "| mean-linear | 0.500 | 0.900 | 25% | 0.1000 | 50% | 1.23% |" in text
    )
    assert (
        "Through the model" in text
        and baselines.main() == 0
        and (page / "baselines.md").read_text() == text
    )


def test_check_and_a_lost_marker(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("sys.argv", ["baselines", "--check"])
    assert baselines.main() == 2 and "not in step" in capsys.readouterr().err
    (page / "baselines.md").write_text("nothing")
    assert baselines.main() == 2 and "expected one" in capsys.readouterr().err


def test_the_committed_page_is_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["baselines", "--check"])
    assert baselines.main() == 0
