"""Documents in chunks."""

from ffbench.data.chunks import CHUNK_CHARACTERS, in_chunks


def test_every_character_is_in_one_chunk() -> None:
    long = "".join(chr(97 + i % 26) for i in range(2 * CHUNK_CHARACTERS + 5))
    found = in_chunks(
        {"long": long, "short": "x", "empty": "", "whole": "y" * CHUNK_CHARACTERS}, "salt"
    )
    assert found == {
        "long": long[:CHUNK_CHARACTERS],
        "long:1": long[CHUNK_CHARACTERS : 2 * CHUNK_CHARACTERS],
        "long:2": long[2 * CHUNK_CHARACTERS :],
        "short": "x",
        "whole": "y" * CHUNK_CHARACTERS,
    }


def test_the_order_depends_on_names_and_salt_alone() -> None:
    names = {f"d{i}": "text" for i in range(20)}
    there, back = in_chunks(names, "a"), in_chunks(dict(reversed(names.items())), "a")
    assert list(there) == list(back) != sorted(there)
    assert list(in_chunks(names, "b")) != list(there)
