"""Keep README's table and picture in step with the committed results: python -m analysis.readme [--take outputs]"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import pandas as pd

from analysis import load, plots, tables

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "default"
START, END = "<!-- results: made by `make readme` -->", "<!-- end of results -->"
COLUMNS = ("selector", "compensator", "sparsity", "score", "loss_abs", "loss_rel", "kl", "top1_agreement", "ppl_ratio",
           "ffn_speedup", "ttft_speedup", "flops_ratio")


def take(output_dir: Path) -> None:
    """Copy the small files of every done run into the committed results."""
    shutil.rmtree(RESULTS / "runs", ignore_errors=True)
    for folder, _ in load.results(output_dir):
        target = RESULTS / "runs" / folder.name
        target.mkdir(parents=True)
        for name in ("result.json", "config.json", "provenance.json"):
            shutil.copy(folder / name, target / name)


def conditions(frame: pd.DataFrame) -> str:
    """Where and how the numbers came about."""
    sparse = frame[frame["sparsity"] > 0].iloc[0]
    count = pd.to_numeric(frame["n"]).max()
    sha = ", ".join(sorted({str(value)[:10] for value in frame["git_sha"].dropna()}))
    return (f"Command: `{sparse['command']}`. "
            f"{sparse['model']}, {sparse['dtype']}, block size {sparse['block_size']:.0f}, first and last block dense. "
            f"n = {count:.0f} prompts ({frame['task'].iloc[0]} tasks), {sparse['windows']:.0f} held-out windows for KL. "
            f"{sparse['cpu']}, {sparse['threads']:.0f} threads, git {sha}. "
            "Brackets: 95% bootstrap intervals; for speedups p20 to p80 of paired rounds.")


def task_line() -> str:
    """Dense score of each task beside that of a guess."""
    frame = load.tasks(RESULTS)
    dense = frame[frame["sparsity"] == 0]
    return "Dense scores, and those of a guess: " + "; ".join(
        f"`{row.task}` {row.score:.1f} against {row.chance:.1f} (n = {row.n})" for row in dense.itertuples()) + "."


def section() -> str:
    """The generated part of the README."""
    frame = load.runs(RESULTS).sort_values(["sparsity", "selector"], kind="stable")
    selectors = RESULTS.parent / "selectors.jsonl"
    parts = [tables.markdown(frame, COLUMNS), "", conditions(frame), "", task_line(), "", "![Loss against speedup](docs/pareto.svg)", ""]
    if selectors.exists():
        parts += [selector_table([json.loads(line) for line in selectors.read_text().splitlines()]), ""]
    return "\n".join(parts)


def selector_table(lines: list[dict]) -> str:
    """KL of selector and compensator pairs; the last line of each pair counts."""
    last = {(one["selector"], one["compensator"], one["scheduler"]): one for one in lines}
    rows = sorted(last.values(), key=lambda one: one["fidelity"]["mean"]["kl"])
    first = rows[0]
    head = (f"KL to dense at sparsity {first['sparsity']:g}, rank {first['rank']}, on the same "
            f"{first['fidelity']['mean']['windows']} held-out windows of {first['fidelity']['mean']['window_tokens']} "
            f"tokens (`python benchmarks/accuracy_selectors.py`, {first['cpu']}, {first['threads']} threads, "
            f"git {first['git_sha'][:10]}). `oracle` sees the exact activations: a bound, no speedup.")
    body = ["| selector | compensator | scheduler | KL prose | KL code | KL mean (95% over windows) | ppl ratio |",
            "|---|---|---|---|---|---|---|"]
    for one in rows:
        f, mean = one["fidelity"], one["fidelity"]["mean"]
        body.append(f"| {one['selector']} | {one['compensator']} | {one['scheduler']} | {f['prose']['kl']:.3f} | "
                    f"{f['code']['kl']:.3f} | {mean['kl']:.3f} ({mean['kl_low']:.3f} to {mean['kl_high']:.3f}) | "
                    f"{mean['ppl_ratio']:.2f} |")
    return head + "\n\n" + "\n".join(body)


def main() -> int:
    """Rewrite the README's generated part; 2 where there is nothing to make it of."""
    parser = argparse.ArgumentParser(prog="python -m analysis.readme", description=__doc__)
    parser.add_argument("--take", type=Path, help="first copy the done runs of this output folder")
    options = parser.parse_args()
    try:
        if options.take:
            take(options.take)
        text = section()
        plots.pareto(load.runs(RESULTS), ROOT / "docs" / "pareto.svg")
    except (load.LoadError, plots.NothingToDraw) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    (ROOT / "docs" / "pareto.png").unlink(missing_ok=True)
    readme = ROOT / "README.md"
    before, rest = readme.read_text().split(START)
    readme.write_text(f"{before}{START}\n{text}{END}{rest.split(END)[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
