"""GGUF files in other formats hold the same weights and the same metadata."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import quantize

from benchmarks.peers.weights import converted, stored_format

RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((6, 64), dtype=np.float32)
VECTOR = RNG.standard_normal(5, dtype=np.float32)
KIND = GGMLQuantizationType.Q8_0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    writer = GGUFWriter(tmp_path / "source.gguf", "llama")
    writer.add_context_length(77)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    writer.add_tensor("matrix", quantize(MATRIX, KIND), raw_dtype=KIND)
    writer.add_tensor("vector", VECTOR)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "source.gguf"


@pytest.mark.parametrize(("kind", "dtype"), [("f32", np.float32), ("f16", np.float16)])
def test_tensors_and_metadata(source: Path, tmp_path: Path, kind: str, dtype: type) -> None:
    reader = GGUFReader(converted(source, tmp_path / "out.gguf", kind))
    matrix, vector = (tensor.data for tensor in reader.tensors)
    assert matrix.dtype == dtype and vector.dtype == np.float32
    # Q8_0 by hand: blocks of 32 with a float16 step of a 127th of the largest value
    steps = np.abs(MATRIX.reshape(-1, 32)).max(1, keepdims=True) / 127
    whole = np.round(MATRIX.reshape(-1, 32) / steps)
    expected = (whole * steps.astype(np.float16).astype(np.float32)).reshape(MATRIX.shape)
    np.testing.assert_array_equal(matrix, expected.astype(dtype))
    np.testing.assert_array_equal(vector, VECTOR)
    fields = reader.fields
    assert fields["general.architecture"].contents() == "llama"
    assert fields["llama.context_length"].contents() == 77
    assert fields["tokenizer.ggml.tokens"].contents() == ["a", "b"]
    assert fields["general.file_type"].contents() == {"f32": 0, "f16": 1}[kind]


def test_stored_format_is_that_of_most_weights(source: Path) -> None:
    assert stored_format(source) == "Q8_0"
