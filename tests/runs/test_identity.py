"""Content keys and file hashes."""

import hashlib
import itertools
import json
import os
import time
from pathlib import Path

import pytest

from ffbench.runs import identity
from ffbench.runs.files import StoreError
from ffbench.runs.identity import content_key, file_hash

BASE = {
    "model": {"name": "m", "revision": "r"},
    "seeds": [0, 1],
    "sparsity": 0.5,
    "dense_first": True,
    "data": None,
}


def test_key_is_the_hash_of_sorted_compact_json() -> None:
    text = '{"a":[1,2.5,"\\u00e9"],"b":{"c":null,"d":true}}'
    expected = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert content_key({"b": {"d": True, "c": None}, "a": (1.0, 2.5, "é")}) == expected


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 0.5}, {"a": 0.50}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": -0.0}, {"a": 0}),
        ({"a": [1, 2]}, {"a": (1, 2)}),
        ({"a": 1e-3}, {"a": 0.001}),
    ],
    ids=["order", "spelling", "integer float", "minus zero", "tuple", "exponent"],
)
def test_same_meaning_same_key(left: dict, right: dict) -> None:
    assert content_key(left) == content_key(right)


def test_every_change_changes_the_key() -> None:
    variants = [
        BASE,
        BASE | {"sparsity": 0.5000000000000001},
        BASE | {"seeds": [1, 0]},
        BASE | {"seeds": [0, 1, 2]},
        BASE | {"dense_first": 1},
        BASE | {"dense_first": "true"},
        BASE | {"data": ""},
        BASE | {"extra": None},
        BASE | {"model": {"name": "m", "revision": "s"}},
        BASE | {"sparsity": "0.5"},
        BASE | {"data": {}},
        BASE | {"data": []},
        {"model.name": "m"} | BASE,
    ]
    keys = [content_key(variant) for variant in variants]
    assert all(a != b for a, b in itertools.combinations(keys, 2))


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ({"a": {"b": Path("x")}}, TypeError, "a.b is a PosixPath"),
        ({"a": [1, {2}]}, TypeError, "a[1] is a set"),
        ({1: 2}, TypeError, "keys must be text"),
        ({"a": float("nan")}, ValueError, "a is nan"),
        ({"a": [float("inf")]}, ValueError, "a[0] is inf"),
        ({"a": b"x"}, TypeError, "bytes"),
        ({"a": object}, TypeError, "a is a type"),
    ],
)
def test_what_has_no_key_is_refused_by_name(
    value: dict, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match="content key") as caught:
        content_key(value)
    assert words in str(caught.value)


def test_key_does_not_depend_on_the_process() -> None:
    assert content_key(BASE) == content_key(json.loads(json.dumps(BASE)))
    assert content_key({}) == hashlib.sha256(b"{}").hexdigest()[:16]


def old_file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    before = time.time() - 100
    os.utime(path, (before, before))
    return path


def test_file_hash_equals_sha256_and_is_remembered_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = old_file(tmp_path / "model.gguf", b"weights" * 1000), tmp_path / "hashes.json"
    expected = hashlib.sha256(b"weights" * 1000).hexdigest()
    assert file_hash(path, cache) == expected
    monkeypatch.setattr(identity, "_hashes", {})
    monkeypatch.setattr(identity.hashlib, "file_digest", None)
    assert file_hash(path, cache) == expected
    assert str(tmp_path) not in cache.read_text()


def test_file_hash_sees_a_rewrite_of_the_same_size(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"aaaa")
    first, stamp = file_hash(path), path.stat().st_mtime_ns
    path.write_bytes(b"bbbb")
    os.utime(path, ns=(stamp, stamp))
    assert file_hash(path) == hashlib.sha256(b"bbbb").hexdigest() != first


def test_file_hash_sees_a_rewrite_that_keeps_an_old_time(tmp_path: Path) -> None:
    path, cache = old_file(tmp_path / "model.safetensors", b"aaaa"), tmp_path / "hashes.json"
    first, stamp = file_hash(path, cache), path.stat().st_mtime_ns
    time.sleep(0.02)  # clocks of file systems tick every few milliseconds
    path.write_bytes(b"bbbb")
    os.utime(path, ns=(stamp, stamp))  # as cp -p, rsync and tar do
    assert file_hash(path, cache) == hashlib.sha256(b"bbbb").hexdigest() != first


def test_file_hash_survives_a_damaged_cache_and_names_a_missing_file(tmp_path: Path) -> None:
    cache = tmp_path / "hashes.json"
    cache.write_text("{half")
    path = old_file(tmp_path / "x", b"x")
    assert file_hash(path, cache) == hashlib.sha256(b"x").hexdigest()
    assert len(json.loads(cache.read_text())) == 1
    with pytest.raises(StoreError, match="nowhere.gguf"):
        file_hash(tmp_path / "nowhere.gguf", cache)
