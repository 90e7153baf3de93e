"""`python -m ffbench status`: what of each sweep is done."""

import argparse

from ffbench.cli.main import refuse


def main(arguments: list[str]) -> int:
    """Print the state of every job; 0 when all is done or under way, 1 when a job failed, 2 for bad input."""
    from ffbench.runs.files import StoreError
    from ffbench.runs.status import all_status, sweep_status, watch
    from ffbench.runs.store import RunStore

    parser = argparse.ArgumentParser(prog="python -m ffbench status", description=__doc__)
    parser.add_argument("sweep", nargs="?", help="name of one sweep; all of them where none is given")
    parser.add_argument("--output-dir", default="outputs")
    parser.add_argument("--watch", action="store_true", help="print again at every change until the sweep is over")
    options = parser.parse_args(arguments)
    store = RunStore(options.output_dir)
    if options.watch and not options.sweep:
        return refuse(["--watch: name the sweep to watch"])
    try:
        if options.watch:
            for status in watch(store, options.sweep):
                print("\n".join(status.lines()), flush=True)
            shown = [status]
        else:
            shown = [sweep_status(store, options.sweep)] if options.sweep else all_status(store)
            for status in shown:
                print("\n".join(status.lines()))
    except (StoreError, ValueError) as error:
        return refuse([str(error)])
    if not shown:
        print(f"no runs in {options.output_dir}; start some with: python -m ffbench +sweep=sparsity")
    return 1 if any(status.failures for status in shown) else 0
