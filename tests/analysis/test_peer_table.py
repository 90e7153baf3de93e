"""The table of other runtimes: ratios by prompt, next tokens, and rows that were not measured."""

from typing import Any

from ffanalysis import peer_table


def line(peer: str, session: int, **changes: Any) -> dict[str, Any]:
    return {
        "key": f"{peer}{session}",
        "run": "new",
        "peer": peer,
        "session": session,
        "precision": "float32",
        "weights": "float32",
        "seconds": [2.0, 1.0],
        "reference_seconds": [4.0, 4.0],
        "next_tokens": [1, 2, None],
        "reference_tokens": [1, 3, 5],
        "facts": {"runtime": peer, "version": "1"},
        "reason": None,
        "command": "python -m benchmarks.peers",
        "model": "made_up",
        "prompt_tokens": 2048,
        "threads": 2,
        "cpu": "made up",
        "git_sha": "0123456789abcdef",
        "git_dirty": False,
        "busy": False,
    } | changes


def test_ratios_and_tokens_are_pooled_over_sessions() -> None:
    lines = [line("a", 0), line("a", 1, seconds=[4.0, None])]
    assert peer_table.pairs(lines) == [(4.0, 2.0), (4.0, 1.0), (4.0, 4.0)]
    assert peer_table.agreement(lines) == (2, 4)
    text = peer_table.text(lines)
    assert "| a | float32 | float32 | 2.00 | 2.00 (1.00 to 4.00) | 2 of 4 |" in text
    assert "2 sessions, 2 threads, made up, git 0123456789. a 1." in text and "busy" not in text


def test_what_failed_keeps_a_row_with_its_reason() -> None:
    nothing = {"seconds": [None, None], "next_tokens": [None] * 3, "facts": {}}
    text = peer_table.text([line("a", 0), line("b", 0, **nothing, reason="not installed")])
    assert "| b | float32 | float32 | - | not measured: not installed | - |" in text


def test_only_the_newest_run_counts_and_a_busy_machine_is_told() -> None:
    text = peer_table.text([line("old", 0, run="old"), line("a", 0, busy=True)])
    assert "| old |" not in text and "The machine was busy" in text


def test_precision_that_the_runtime_chose() -> None:
    facts = {"runtime": "x", "version": "1", "inference_precision": "bf16"}
    text = peer_table.text([line("a", 0, facts=facts | {"dynamic_quantization_group": 32})])
    assert "| bf16, 8-bit activations in groups of 32 |" in text


def test_nothing_measured() -> None:
    assert peer_table.text([]) == "Not measured yet."
