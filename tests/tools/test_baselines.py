"""The tables of docs/baselines.md on made-up lines."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.docs import baselines


def line(selector: str, kl: float, windows: int = 4, **changes: Any) -> dict[str, Any]:
    values = {
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
        "fidelity": {"prose": values, "code": values, "mean": values},
    } | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / baselines.RESULTS
    path.mkdir(parents=True)
    return path


def write(folder: Path, name: str, lines: list[dict[str, Any]]) -> None:
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("name", baselines.PARTS)
def test_a_part_without_results_says_so(name: str, folder: Path, tmp_path: Path) -> None:
    assert baselines.PARTS[name](tmp_path) == "Not measured yet."


def test_methods_are_sorted_within_flops_and_the_last_line_counts(
    folder: Path, tmp_path: Path
) -> None:
    cheap = {"flops": {"selector": 0.0, "ratio": 0.5}}
    lines = [line("cats", 0.2), line("trained", 0.9), line("trained", 0.4), line("random", 0.8)]
    lines += [line("oracle", 0.1, 16), line("weight_norm", 5.0, **cheap)]
    write(folder, "selectors.jsonl", lines)
    text = baselines.selectors(tmp_path)
    order = ["16 windows", "| oracle |", "| weight_norm |", "| cats (per token) |"]
    places = [text.index(part) for part in [*order, "| trained |", "| random |"]]
    assert places == sorted(places)
    assert "0.400 (0.300 to 0.500)" in text and "0.900 (" not in text


@pytest.mark.parametrize(
    ("name", "changes", "heading"),
    [
        ("hot_fraction", ({"hot_fraction": 1.0}, {"hot_fraction": 0.5}), "hot"),
        ("group_size", ({"group_size": 32}, {"group_size": 1}), "group"),
        ("blocks", ({"blocks": "similar"}, {"blocks": "consecutive"}), "blocks"),
    ],
)
def test_a_setting_s_values_are_rows_in_order(
    name: str, changes: tuple[dict, dict], heading: str, folder: Path, tmp_path: Path
) -> None:
    write(folder, f"{name}.jsonl", [line("trained", 0.4, **change) for change in changes])
    text = baselines.PARTS[name](tmp_path)
    table = [row for row in text.splitlines() if row.startswith("|")]
    assert table[0].startswith(f"| {heading} |") and len(table) == 4
    first, second = (row.split(" | ")[0] for row in table[2:])
    assert first.strip("| ") < second.strip("| ") and "selector trained" in text


def test_ranks_are_parameters_of_the_compensator(folder: Path, tmp_path: Path) -> None:
    lines = [line("static", 0.4, compensator="surrogate", rank=rank) for rank in (128, 64)]
    write(folder, "rank.jsonl", lines)
    text = baselines.PARTS["rank"](tmp_path)
    assert text.index("| 64 |") < text.index("| 128 |") and "| rank |" in text


def test_overlap_shows_means_over_layers(folder: Path, tmp_path: Path) -> None:
    row = {"model": "m", "text": "prose", "block": 16, "density": 0.5, "union": 0.9}
    row |= {"mass": 0.8, "mass_residual": 0.7, "cpu": "c", "threads": 1, "git_sha": "ab"}
    write(folder, "union.jsonl", [row | {"windows": 2, "layer": layer} for layer in (0, None)])
    text = baselines.overlaps(tmp_path)
    assert text.count("| prose | 16 | 0.900 | 0.800 | 0.700 |") == 1 and "K = 0.5 f" in text


def test_variants_of_the_predictor(folder: Path, tmp_path: Path) -> None:
    shared = {"cpu": "c", "threads": 1, "git_sha": "ab", "model": "m", "layers": [0], "rank": 8}
    shared |= {"blocks": 3, "block_size": 16, "steps": 5, "windows_learned": 4}
    values = {"recall_at_k": 0.5, "retained_energy": 0.9, "retained_energy_gap_closed": 0.25}
    values |= {"output_error": 0.1, "output_error_gap_closed": 0.5}
    form = {"kind": "form", "name": "mean-linear", "flops_share": 0.0123}
    through = [
        {"kind": "kl", "name": name}
        | {"fidelity": {"tails": {"copy": {"kl": kl, "kl_low": kl - 0.1, "kl_high": kl + 0.1}}}}
        for name, kl in (("max-linear", 0.5), ("mean-linear", 0.44))
    ]
    write(folder, "predictors.jsonl", [shared | one for one in (values | form, *through)])
    text = baselines.predictors(tmp_path)
    assert "| mean-linear | 0.500 | 0.900 | 25% | 0.1000 | 50% | 1.23% |" in text
    best = text.index("| mean-linear | 0.440 (0.340 to 0.540) |")
    assert "| variant | copy KL |" in text and best < text.index("| max-linear | 0.500 (")


def answer_line(selector: str, copy: float, **changes: Any) -> dict[str, Any]:
    def tail(kl: float) -> dict[str, Any]:
        return {
            "n": 16,
            "kl": kl,
            "kl_low": kl / 2,
            "kl_high": kl * 2,
            "kl_worst": kl * 3,
            "nll_dense": 1.0,
            "nll_increase": kl,
            "nll_increase_low": kl / 2,
            "nll_increase_high": kl * 2,
            "nll_increase_worst": kl,
            "top1_agreement": 0.9,
        }

    tails = {"continuation": tail(copy / 3), "copy": tail(copy)}
    new = {
        "parameters": {"selector": {}, "compensator": {}, "scheduler": {}},
        "blocks": "consecutive",
        "group_size": 1,
        "part": "test",
        "flops_target": 0.6,
        "selector_counted": True,
        "per_token": False,
        "fidelity": {"tails": tails, "flops_used": 0.6, "density_used": 0.55},
    }
    old = {name: value for name, value in line(selector, copy).items() if name != "block_wise"}
    return old | new | changes


def test_rules_at_equal_flops_are_sorted_by_copy_kl_and_bounds_come_last(
    folder: Path, tmp_path: Path
) -> None:
    lines = [
        answer_line("oracle", 0.01, selector_counted=False),
        answer_line("static", 0.08, sparsity=0.58),
        answer_line("trained", 0.05),
        answer_line("trained", 0.04, blocks="sorted"),
        answer_line("cats", 0.07, per_token=True),
    ]
    write(folder, baselines.EQUAL_FLOPS, lines)
    text = baselines.equal_flops(tmp_path)
    order = ["sorted", "| trained + none |", "cats (per token)", "static", "oracle + none (bound)"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "0.0500 (0.0250 to 0.1000)" in text and "| 0.58 |" in text
    assert "0.6 of the dense FFN FLOPs" in text and "test part, 16 windows" in text
