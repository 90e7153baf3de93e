"""The same weights in other GGUF formats: matrices as float32 or float16, vectors as float32."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.arms import STORED
from ffbench.models.loading import ModelSpec, weight_files

FILE_TYPES = {"f32": 0, "f16": 1}  # GGUF's general.file_type
SKIPPED = ("general.architecture", "general.file_type", "general.quantization_version")


def stored_format(path: Path) -> str:
    """The tensor type that most of a file's weights have, such as Q4_1."""
    from gguf import GGUFReader

    sizes: dict[str, int] = {}
    for tensor in GGUFReader(path).tensors:
        name = tensor.tensor_type.name
        sizes[name] = sizes.get(name, 0) + int(tensor.n_elements)
    return max(sizes, key=lambda name: sizes[name])


def converted(source: Path, target: Path, kind: str) -> Path:
    """Write the dequantised tensors of `source` as `kind` (f32 or f16), metadata unchanged; returns
    `target`. float16 rounds each weight to 11 bits.
    """
    import numpy as np
    from gguf import GGUFReader, GGUFValueType, GGUFWriter
    from gguf.quants import dequantize

    reader = GGUFReader(source)
    writer = GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in SKIPPED:
            continue
        kind_of_list = field.types[1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], sub_type=kind_of_list)
    writer.add_file_type(FILE_TYPES[kind])
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        if values.ndim > 1 and kind == "f16":
            values = values.astype(np.float16)
        writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@contextmanager
def gguf_files(spec: ModelSpec, kinds: set[str]) -> Iterator[dict[str, Path]]:
    """GGUF files of the model by format, converted into a temporary folder; none without a GGUF."""
    files = [path for path in weight_files(spec) if path.suffix == ".gguf"]
    if not files:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="ffbench-peers-") as folder:
        made = {
            kind: converted(files[0], Path(folder) / f"{kind}.gguf", kind)
            for kind in sorted(kinds - {STORED})
        }
        yield made | {STORED: files[0]}
