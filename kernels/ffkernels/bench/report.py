"""A result line as text, and its numbers rounded for the file."""

from typing import Any

from ffkernels.bench.variants import NAMES


def rounded(value: Any) -> Any:
    """Round numbers above 0.1 to four decimals; smaller ones keep all their digits."""
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) and value > 0.1 else value


def heading(r: dict[str, Any]) -> list[str]:
    """What was measured, where, and how exact it is."""
    rows = "any rows" if r["group_size"] == 1 else f"groups of {r['group_size']}"
    return [
        (
            f"{r['shape']} (d {r['d']}, f {r['f']}), {r['dtype']}, {r['tokens']} tokens in blocks "
            f"of {r['block_size']}, density {r['density']:.3f}, {rows}, "
            f"{100 * r['hot_fraction']:.0f}% of the kept neurons hot, index sets: {r['indices']}"
        ),
        (
            f"backend {r['backend']} ({r['instruction_set'] or 'no instruction set of its own'}), "
            f"{r['threads']} thread(s), {r['cpu']}, device {r['device']}, torch {r['torch']}"
        ),
        f"relative error {r['relative_error']:.2e}, allowed {r['error_allowed']:.2e}",
        "",
    ]


def describe(r: dict[str, Any]) -> str:
    """A result line for a reader."""
    lines = heading(r)
    lines.append(
        f"{'':22} {'seconds':>9} {'GFLOP/s':>9} {'of peak':>8}   sparse is faster by (p20 to p80)"
    )
    for name, seconds in r["variant_seconds"].items():
        share = r["density"] if name == "sparse" else 1.0
        rate = 6 * r["tokens"] * r["d"] * r["f"] * len(r["layers"]) * share / seconds / 1e9
        line = f"{NAMES[name]:22} {seconds:9.4f} {rate:9.0f} {100 * rate / r['peak_gflops']:7.0f}%"
        if name in r["spread"]:
            median = r[f"ratio_{name}"]
            line += "   {:.3f} ({:.3f} to {:.3f})".format(median, *r["spread"][name])
        lines.append(line)
    if r["compiled_skipped"]:
        lines.append(f"torch.compile left out: {r['compiled_skipped']}")
    ideal = f"{r['ideal']:.3f}" if r["ideal"] else "-"
    lines.append(
        f"ideal {ideal} (1 / density); measured peak {r['peak_gflops']:.0f} GFLOP/s "
        "(best square torch GEMM in this dtype or float32)"
    )
    return "\n".join(lines)
