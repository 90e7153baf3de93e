"""A plan's card: what it was made for and from, how near to dense it comes, how fast it is."""

from collections import Counter
from typing import Any

from ffbench.methods.plan import SparsePlan

NOT_MEASURED = "not measured"
TAILS = {"answer_kl": "answer KL", "copy_kl": "copy KL", "question_kl": "question KL"}
METADATA = ("library_name: ffbench", "tags: [ffbench, sparse-prefill]")


def model_text(card: dict[str, Any]) -> str:
    """The model with its location, revision and dtype, as far as the card has them."""
    if not card.get("model"):
        return "a model that the plan does not name"
    location, revision = card.get("location"), card.get("revision")
    place = f"{location}@{revision}" if location and revision else location
    details = ", ".join(str(part) for part in (place, card.get("dtype")) if part)
    return f"{card['model']} ({details})" if details else str(card["model"])


def kl_text(measured: dict[str, Any] | None) -> str:
    """A KL in nats with its interval, if there is one, and the number of windows."""
    if not measured:
        return NOT_MEASURED
    if measured["low"] is None:  # one window per text has no spread
        return f"{measured['kl']:.4f} (no interval), n = {measured['n']}"
    bracket = f"{measured['low']:.4f} to {measured['high']:.4f}"
    return f"{measured['kl']:.4f} ({bracket}), n = {measured['n']}"


def speed_text(speed: dict[str, Any] | None) -> str:
    """Speedups of the time to the first token by prompt length, and where they were measured."""
    if not speed:
        return NOT_MEASURED
    rows = "; ".join(
        f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f}) at {row['tokens']} tokens"
        for row in speed["ttft"]
    )
    busy = ", measured on a busy machine" if speed.get("busy") else ""
    return f"{rows}; {speed['where']}{busy}"


def method_text(value: Any) -> str:
    """A setting for a reader; a method as its name and parameters."""
    if not isinstance(value, dict):
        return str(value)
    parameters = ", ".join(f"{key} {item}" for key, item in value.items() if key != "name")
    return f"{value['name']} ({parameters})" if parameters else str(value["name"])


def card_rows(plan: SparsePlan) -> dict[str, str]:
    """What the card says, in order, by label; what older plans do not know is left out."""
    card = plan.card
    rows = {"made for": model_text(card)}
    if "calibration_text" in card:
        tokens = f", {card['calibration_tokens']} tokens" if "calibration_tokens" in card else ""
        rows["fitted on"] = f"{card['calibration_text']}{tokens}"
    if "objective" in card:
        rows["objective"] = ", ".join(
            f"{name} {share}" for name, share in card["objective"].items()
        )
    rows |= {
        label: kl_text(card.get(name))
        for name, label in TAILS.items()
        if name == "answer_kl" or name in card
    }
    rows["TTFT speedup"] = speed_text(card.get("speed"))
    if plan.mixture:
        rows["dense experts"] = dense_experts(plan)
    if plan.min_tokens:
        rows["dense below"] = f"{plan.min_tokens} tokens"
    if card.get("versions"):
        rows["versions"] = ", ".join(f"{name} {text}" for name, text in card["versions"].items())
    if card.get("git_sha"):
        rows["git"] = str(card["git_sha"])
    if card.get("command"):
        rows["command"] = str(card["command"])
    return rows


def kept_text(plan: SparsePlan) -> str:
    """Kept neurons of every layer in turn; of a mixture, how many FFNs of a kind keep a number."""
    if not plan.mixture:
        return ", ".join(str(layer.kept) for layer in plan.layers)
    numbers = Counter(
        (place.kind, len(layer.order), layer.kept)
        for place, layer in zip(plan.places, plan.layers, strict=True)
    )
    return ", ".join(
        f"{kept} of {f} in {count} {kind}{'s' if count > 1 else ''}"
        for (kind, f, kept), count in sorted(numbers.items())
    )


def dense_experts(plan: SparsePlan) -> str:
    """The experts that stay dense, by layer and number."""
    names = [
        place.text()
        for place, layer in zip(plan.places, plan.layers, strict=True)
        if place.expert is not None and layer.whole
    ]
    return "; ".join(names) or "none"


def front_matter(card: dict[str, Any]) -> str:
    """The metadata that the hub reads; the base model is named if it is on the hub."""
    lines = list(METADATA)
    if card.get("source") == "hub":
        lines.append(f"base_model: {card['location']}")
    return "\n".join(["---", *lines, "---"])


def readme(plan: SparsePlan) -> str:
    """README.md of a plan's folder, in Markdown."""
    facts, settings = card_rows(plan), plan.settings.as_dict().items()
    escaped = {label: text.replace("|", "\\|") for label, text in facts.items()}
    of = "" if plan.mixture else f" by layer, of {len(plan.layers[0].order)}"
    return "\n".join(
        [
            front_matter(plan.card),
            "",
            f"# Sparse prefill plan for {plan.card.get('model', 'a model')}",
            "",
            "It says which FFN neurons each block of prompt tokens keeps, and what estimates the",
            "others. Decoding stays dense. It holds no weights of the model.",
            "",
            "```python",
            "from ffbench import SparsePlan, sparse_prefill",
            "",
            'plan = SparsePlan.from_pretrained("FOLDER_OR_HUB_ID")',
            "with sparse_prefill(model, plan):",
            "    output = model.generate(**inputs)",
            "```",
            "",
            "| | |",
            "| --- | --- |",
            *(f"| {label} | {text} |" for label, text in escaped.items()),
            *(f"| {name} | {method_text(value)} |" for name, value in settings),
            f"| kept neurons{of} | {kept_text(plan)} |",
            "",
            "KL in nats on held-out text, with 95% bootstrap intervals: answer KL on the tokens",
            "that continue a sparse prompt, copy KL on a repeated passage of it. Speedups are over",
            "the dense model on the machine that the row names.",
            "",
        ]
    )
