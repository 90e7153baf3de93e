"""Clusters of documents that share 30 words in a row."""

import random

from ffbench.data.shingles import SHINGLE_WORDS, clusters, shingles, without_contained


def words(prefix: str, count: int) -> str:
    return " ".join(f"{prefix}{i}" for i in range(count))


def test_number_of_shingles() -> None:
    for count, expected in ((0, 0), (29, 0), (30, 1), (31, 2), (100, 71)):
        assert len(set(shingles(words("w", count)))) == expected
    assert set(shingles(words("w", 30))) == set(shingles(words("w", 30).replace(" ", "\n  ")))


def test_documents_are_joined_by_thirty_shared_words_but_not_by_less() -> None:
    shared, nearly = words("s", 30), words("t", 29)
    texts = {
        "a": words("a", 40) + " " + shared,
        "b": shared + " " + words("b", 40),
        "c": nearly + " " + words("c", 9),
        "d": words("d", 9) + " " + nearly,
        "short": "a few words",
    }
    assert clusters(texts) == [["a", "b"], ["c"], ["d"], ["short"]]


def test_clusters_are_transitive_and_equal_a_search_through_all_pairs() -> None:
    generator = random.Random(0)
    passages = [words(f"p{i}x", 35) for i in range(12)]
    texts = {
        f"d{i}": " ".join(generator.sample(passages, 2)) + " " + words(f"own{i}x", 40)
        for i in range(9)
    }
    runs = {name: set(shingles(text)) for name, text in texts.items()}
    expected = [{name} for name in texts]
    merged = True
    while merged:
        merged = False
        for one in expected:
            for other in expected:
                if one is not other and any(runs[a] & runs[b] for a in one for b in other):
                    one |= other
                    expected.remove(other)
                    merged = True
                    break
            if merged:
                break
    assert 1 <= len(expected) < 9
    assert sorted(map(sorted, clusters(texts))) == sorted(map(sorted, expected))


def test_a_document_inside_a_longer_one_is_left_out() -> None:
    inner = words("i", 2 * SHINGLE_WORDS)
    texts = {"inner": inner, "outer": words("o", 50) + " " + inner, "other": words("x", 60)}
    assert list(without_contained(texts)) == ["outer", "other"]
    twins = {"b": inner, "a": inner}
    assert list(without_contained(twins)) == ["a"]
