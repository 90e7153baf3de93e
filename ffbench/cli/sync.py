"""`python -m ffbench sync`: send finished run folders to W&B."""

import argparse

from ffbench.cli.main import refuse


def main(arguments: list[str]) -> int:
    """Send what W&B does not have yet; 0 when nothing failed, 1 when a run did, 2 for bad input."""
    from ffbench.runs.files import StoreError
    from ffbench.tracking.base import TrackerSettings
    from ffbench.tracking.sync import sync

    parser = argparse.ArgumentParser(prog="python -m ffbench sync", description=__doc__)
    parser.add_argument("run_keys", nargs="*", help="only these runs")
    parser.add_argument("--output-dir", default="outputs")
    parser.add_argument("--project", default="ffbench")
    parser.add_argument("--entity")
    options = parser.parse_args(arguments)
    settings = TrackerSettings(project=options.project, entity=options.entity)
    try:
        report = sync(options.output_dir, options.run_keys or None, settings)
    except (StoreError, ValueError) as error:
        return refuse([str(error)])
    print("\n".join(report.lines()))
    return 1 if report.failed else 0
