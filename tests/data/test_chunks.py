"""Documents in pieces."""

from ffbench.data.chunks import PIECE, in_pieces
from ffbench.data.embedded_text import KINDS, calibration_pieces, documents


def test_every_character_is_in_one_piece() -> None:
    long = "".join(chr(97 + i % 26) for i in range(2 * PIECE + 5))
    found = in_pieces({"long": long, "short": "x", "empty": "", "whole": "y" * PIECE}, "salt")
    assert found == {
        "long": long[:PIECE],
        "long:1": long[PIECE : 2 * PIECE],
        "long:2": long[2 * PIECE :],
        "short": "x",
        "whole": "y" * PIECE,
    }


def test_the_order_depends_on_names_and_salt_alone() -> None:
    names = {f"d{i}": "text" for i in range(20)}
    there, back = in_pieces(names, "a"), in_pieces(dict(reversed(names.items())), "a")
    assert list(there) == list(back) != sorted(there)
    assert list(in_pieces(names, "b")) != list(there)


def test_calibration_begins_with_text_of_many_documents() -> None:
    for kind in KINDS:
        pieces, whole = calibration_pieces(kind), documents(kind, "calibration")
        assert sum(map(len, pieces.values())) == sum(map(len, whole.values()))
        first = {name.partition(":")[0] for name in list(pieces)[:20]}
        assert len(first) > 8 and first <= set(whole)
