"""`python -m ffbench sync`: send finished run folders to W&B."""

from ffbench.cli.errors import DONE, FAILED, refuse
from ffbench.cli.options import Parser
from ffbench.cli.run_keys import full_keys


def main(arguments: list[str]) -> int:
    """Send what W&B does not have yet; 0 when nothing failed, 1 when a run did, 2 for bad input."""
    from ffbench.tracking.base import TrackerSettings
    from ffbench.tracking.sync import sync

    parser = Parser("sync", __doc__)
    parser.add_argument("run_keys", nargs="*", help="only these runs; first digits are enough")
    parser.add_argument("--project", default="ffbench")
    parser.add_argument("--entity")
    options = parser.parse(arguments)
    settings = TrackerSettings(project=options.project, entity=options.entity)
    if problems := settings.problems():
        return refuse(problems)
    keys = full_keys(options.output_dir, options.run_keys)
    report = sync(options.output_dir, keys or None, settings)
    print("\n".join(report.lines()))
    return FAILED if report.failed else DONE
