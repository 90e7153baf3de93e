"""Documents cut into chunks, so that a few windows of calibration text hold something of many
documents.
"""

import hashlib

# Four chunks of this many characters fill a window of 2,048 to 4,096 tokens.
CHUNK_CHARACTERS = 4096


def in_chunks(documents: dict[str, str], salt: str) -> dict[str, str]:
    """Name -> text of every chunk of at most CHUNK_CHARACTERS, in an order given by the hashes of
    the names with `salt`.

    A document's first chunk has its name, later ones name:1, name:2 and so on.
    """
    chunks = {
        f"{name}:{start // CHUNK_CHARACTERS}" if start else name: text[
            start : start + CHUNK_CHARACTERS
        ]
        for name, text in documents.items()
        for start in range(0, len(text), CHUNK_CHARACTERS)
    }
    names = sorted(chunks, key=lambda name: hashlib.sha256(f"{salt}/{name}".encode()).hexdigest())
    return {name: chunks[name] for name in names}


PIECE = CHUNK_CHARACTERS  # the name that experiment/identity.py uses
