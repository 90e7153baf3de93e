"""Run keys on the command line may be cut short, as git's are."""

from collections.abc import Sequence

from ffbench.cli.errors import UsageError
from ffbench.runs.store import RUN_KEY, RunStore

SHOWN = 5  # keys in a message


def full_keys(output_dir: str, prefixes: Sequence[str]) -> list[str]:
    """The run key that each prefix means. Raises UsageError naming every prefix that means none.

    A whole key is returned as it is, so that the caller says what is wrong with its run.
    """
    there = [run.run_key for run in RunStore(output_dir).runs()]
    keys, problems = [], []
    for prefix in prefixes:
        matches = [key for key in there if key.startswith(prefix.lower())]
        if RUN_KEY.fullmatch(prefix) or len(matches) == 1:
            keys.append(prefix if RUN_KEY.fullmatch(prefix) else matches[0])
        elif matches:
            more = ", ..." if len(matches) > SHOWN else ""
            problems.append(
                f"{prefix}: {len(matches)} runs begin so ({', '.join(matches[:SHOWN])}{more}); "
                "give more digits"
            )
        else:
            problems.append(
                f"{prefix}: no run in {output_dir} has a key that begins with it; "
                f"`python -m ffbench status --output-dir {output_dir}` lists them"
            )
    if problems:
        raise UsageError("\n".join(problems))
    return keys
