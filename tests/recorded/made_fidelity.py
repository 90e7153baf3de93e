"""Made-up fidelity: simple formulas with seeded noise (see make_recorded.py)."""

import random
from typing import Any

TEXTS, CONTEXTS, DOCUMENTS = ("prose", "code"), (512, 1536), 8
# KL of a tail over KL at the prompt's own positions
TAIL_SHARE = {"continuation": 0.07, "copy": 0.4}


def tail(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Fidelity of the windows `rows`; intervals are a plausible share of the mean."""
    kl = sum(row["kl"] for row in rows) / len(rows)
    increase = sum(row["nll_sparse"] - row["nll_dense"] for row in rows) / len(rows)
    return {
        "n": len(rows),
        "kl": kl,
        "kl_low": kl * 0.88,
        "kl_high": kl * 1.14,
        "kl_worst": max(row["kl"] for row in rows),
        "nll_dense": 2.0,
        "nll_increase": increase,
        "nll_increase_low": increase * 0.8,
        "nll_increase_high": increase * 1.25,
        "nll_increase_worst": max(row["nll_sparse"] - row["nll_dense"] for row in rows),
        "top1_agreement": sum(row["top1_agreement"] for row in rows) / len(rows),
    }


def windows(kl: float, draw: random.Random) -> list[dict[str, Any]]:
    """One row per text, document, context and tail; longer contexts lose more."""
    rows = []
    for text in TEXTS:
        for number in range(DOCUMENTS):
            for context in CONTEXTS:
                for name, share in TAIL_SHARE.items():
                    value = kl * share * (context / 1024) ** 0.2 * draw.uniform(0.7, 1.3)
                    rows.append(
                        {
                            "text": text,
                            "document": f"{text}-{number}",
                            "context": context,
                            "tail": name,
                            "tokens": 255,
                            "kl": value,
                            "nll_dense": 2.0,
                            "nll_sparse": 2.0 + 1.2 * value,
                            "top1_agreement": 1 / (1 + value),
                        }
                    )
    return rows


def fidelity(kl: float, draw: random.Random) -> dict[str, Any]:
    """Fidelity by tail, text and context, and at the prompt's own positions."""
    rows = windows(kl, draw)

    def tails(**only: Any) -> dict[str, Any]:
        chosen = [row for row in rows if all(row[name] == value for name, value in only.items())]
        return {name: tail([row for row in chosen if row["tail"] == name]) for name in TAIL_SHARE}

    return {
        "part": "heldout",
        "contexts": list(CONTEXTS),
        "tails": tails(),
        "by_text": {text: tails(text=text) for text in TEXTS},
        "by_context": {str(context): tails(context=context) for context in CONTEXTS},
        "prompt": prompt(kl),
        "density_used": 0.6,
        "flops_used": 0.65,
        "rows": rows,
    }


def prompt(kl: float) -> dict[str, Any]:
    """Fidelity at the prompt's own positions."""
    return {
        "n": 2 * DOCUMENTS,
        "kl": kl,
        "kl_low": kl * 0.88,
        "kl_high": kl * 1.14,
        "top1_agreement": 1 / (1 + kl),
        "ppl_ratio": 1 + kl,
        "ppl_dense": 8.1,
    }
