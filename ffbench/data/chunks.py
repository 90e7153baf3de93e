"""Documents in pieces, so that a few windows of calibration text hold something of many
documents.
"""

import hashlib

PIECE = 4096  # characters


def in_pieces(documents: dict[str, str], salt: str) -> dict[str, str]:
    """Name -> text of every piece of PIECE characters or less, in an order that the names' hashes
    with `salt` give.

    A document's first piece has its name, later ones name:1, name:2 and so on.
    """
    pieces = {
        f"{name}:{start // PIECE}" if start else name: text[start : start + PIECE]
        for name, text in documents.items()
        for start in range(0, len(text), PIECE)
    }
    names = sorted(pieces, key=lambda name: hashlib.sha256(f"{salt}/{name}".encode()).hexdigest())
    return {name: pieces[name] for name in names}
