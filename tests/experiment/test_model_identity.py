"""What tells one model from another in keys."""

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_stages import run_settings

from ffbench.experiment import identity
from ffbench.experiment.plan_cards import made_card
from ffbench.experiment.stages import run_key
from ffbench.integrations.fingerprints import fingerprint
from ffbench.settings import ModelSettings, RunSettings, TaskSettings


def test_a_branch_of_the_hub_counts_by_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    commits = {"main": "a" * 40, "v2": "b" * 40}
    monkeypatch.setattr(
        identity, "commit_of", lambda location, revision: commits.get(revision, revision)
    )

    def settings(revision: str) -> RunSettings:
        model = ModelSettings("mine", "hub", "org/name", revision=revision, dtype="float32")
        return run_settings(model=model)

    main, second = run_key(settings("main")), run_key(settings("v2"))
    assert main == run_key(settings("a" * 40)) != second
    assert identity.model_spec(settings("main")).revision == "a" * 40
    assert made_card(settings("main"), "float32")["revision"] == "a" * 40
    monkeypatch.setattr(
        "ffbench.integrations.fingerprints.commit_of", lambda location, revision: commits["main"]
    )
    served = fingerprint(
        name="mine", dtype="float32", pretrained="org/name", gguf_file=None, revision=None
    )
    assert served == identity.fingerprint(settings("main"))
    commits["main"] = "b" * 40  # somebody pushed
    assert run_key(settings("main")) == second


def test_the_dtype_in_keys_is_the_one_that_is_used() -> None:
    def key(dtype: str) -> str:
        model = replace(run_settings().model, dtype=dtype)
        return run_key(run_settings(model=model))

    assert key("auto") == key("float32") != key("bfloat16")


def test_a_local_models_template_and_tokenizer_are_in_its_keys(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text('{"model_type": "llama", "dtype": "float32"}')
    model = ModelSettings("mine", source="folder", location=str(tmp_path), dtype="float32")
    task = TaskSettings(name="embedded", tasks=["embedded_code"], limit=1, max_length=2048)
    settings = run_settings(model=model, task=task, output_dir=str(tmp_path / "out"))
    keys = [run_key(settings)]
    for name in ("chat_template.jinja", "tokenizer.model", "merges.txt", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
        keys.append(run_key(settings))
    (tmp_path / "README.md").write_text("no result depends on this")
    keys.append(run_key(settings))
    assert len(set(keys)) == len(keys) - 1 and keys[-1] == keys[-2]
