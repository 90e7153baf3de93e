"""Text encoded as a whole and cut at characters: with offsets and without."""

from typing import Any

import pytest
from small_tokenizers import byte_level, sentencepiece

from ffbench.data.encoding import encode_with_boundaries, shared_start, special_head
from ffbench.models.tiny import ByteTokenizer

TEXT = "The value of x is 12, naïve café.\n\n    return x  # 好的 \U0001f600 end"


class Slow:
    """A tokenizer without character offsets."""

    def __init__(self, fast: Any) -> None:
        self.fast = fast

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return self.fast.encode(text, add_special_tokens=add_special_tokens)


@pytest.mark.parametrize("tokenizer", [byte_level(), sentencepiece()], ids=["bytes", "pieces"])
def test_boundaries_leave_whole_ids_on_each_side(tokenizer: Any) -> None:
    places = range(len(TEXT) + 1)
    ids, at = encode_with_boundaries(tokenizer, TEXT, places)
    assert ids == tokenizer.encode(TEXT, add_special_tokens=False)
    assert at == sorted(at) and at[-1] == len(ids)
    offsets = tokenizer(TEXT, add_special_tokens=False, return_offsets_mapping=True)
    for place, index in zip(places, at, strict=True):
        assert all(end <= place for _, end in offsets["offset_mapping"][:index])
        assert index == len(ids) or offsets["offset_mapping"][index][1] > place


@pytest.mark.parametrize("tokenizer", [byte_level(), sentencepiece()], ids=["bytes", "pieces"])
def test_without_offsets_the_same_ids_and_boundaries_at_words_are_found(tokenizer: Any) -> None:
    places = [0, TEXT.index(" value"), TEXT.index(", na"), TEXT.index("\n\n"), len(TEXT)]
    fast, slow = (encode_with_boundaries(one, TEXT, places) for one in (tokenizer, Slow(tokenizer)))
    assert fast == slow


def test_shared_start_and_special_head() -> None:
    assert shared_start([1, 2, 3], [1, 2]) == 2 and shared_start([1], [2]) == 0
    assert shared_start([], [1]) == 0
    assert special_head(ByteTokenizer()) == [1]
    assert special_head(byte_level(begin=False)) == []
    assert special_head(byte_level(end=True)) == [1] == special_head(sentencepiece())
