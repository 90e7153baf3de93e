"""A session's model: kept from run to run, and loaded again once its files have changed."""

import os
from pathlib import Path
from typing import Any

import pytest

from ffbench.experiment import identity, session
from ffbench.models import fast_products, forward
from ffbench.models.loading import ModelSpec


def test_a_model_is_loaded_once_and_again_when_a_file_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[ModelSpec] = []

    def load_model(spec: ModelSpec) -> tuple[Any, Any]:
        loads.append(spec)
        return object(), object()

    monkeypatch.setattr(session, "load_model", load_model)
    monkeypatch.setattr(fast_products, "use_fast_products", lambda model: None)
    monkeypatch.setattr(forward, "check_logits", lambda model: None)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"first")
    spec = ModelSpec("mine", source="folder", location=str(tmp_path))
    try:
        first = session.loaded(spec)
        assert session.loaded(spec) is first and len(loads) == 1
        weights.write_bytes(b"other")
        os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1))
        assert session.loaded(spec) is not first and len(loads) == 2
    finally:
        session.loaded_once.cache_clear()


def test_a_model_s_dtype_is_asked_again_when_a_file_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(("float32", "bfloat16"))
    monkeypatch.setattr(identity, "planned_dtype", lambda spec: next(answers))
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"first")
    spec = ModelSpec("mine", source="folder", location=str(tmp_path))
    assert [identity.dtype_of(spec), identity.dtype_of(spec)] == ["float32", "float32"]
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1))
    assert identity.dtype_of(spec) == "bfloat16"
