"""Result lines of the benchmark: the names of their fields, and reading lines of older versions.

Imports no torch, so that whatever reads results can use it.
"""

import re
from typing import Any

RENAMED = {
    "block": "block_size",
    "group": "group_size",
    "isa": "instruction_set",
}
DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
# Lines of older versions end a processor's name with the vector instructions that torch uses.
CAPABILITY = re.compile(r" \((DEFAULT|AVX2|AVX512|NEON|SVE\d*|VSX|Z VECTOR)\)$")


def current(line: dict[str, Any]) -> dict[str, Any]:
    """A result line with today's names: `block_size`, `group_size`, `float32`, one processor name.

    A field that already has its new name wins over one with the old name.
    """
    new = {RENAMED.get(name, name): value for name, value in line.items()}
    new |= {name: line[name] for name in RENAMED.values() if name in line}
    if "dtype" in new:
        new["dtype"] = DTYPES.get(new["dtype"], new["dtype"])
    capability = CAPABILITY.search(str(new.get("cpu") or ""))
    if capability:
        new["cpu"] = new["cpu"][: capability.start()]
        new.setdefault("torch_instruction_set", capability[1])
    return new
