"""The example in docs/extending.md is a selector that works."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def test_the_selector_of_the_page_scores_blocks_and_has_its_parameter() -> None:
    from ffbench.methods.selectors.base import SELECTORS

    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    names: dict[str, Any] = {}
    try:
        exec(compile(code, str(PAGE), "exec"), names)
        method = SELECTORS.make({"name": "block_norm", "power": 2})
        prior = torch.arange(1.0, 7.0)
        inputs = SimpleNamespace(
            blocks=torch.full((3, 4, 9), 2.0),
            layer=SimpleNamespace(predictor=SimpleNamespace(prior=prior)),
        )
        # each token's norm is 2 * sqrt(9) = 6
        assert torch.allclose(method.scores(inputs), (36 * prior).expand(3, -1))
    finally:
        SELECTORS.classes.pop("block_norm", None)
