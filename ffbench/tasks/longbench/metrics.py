"""LongBench's metrics, in points (0 to 100), for one prediction and one gold answer."""

import re
import string
from collections import Counter
from difflib import SequenceMatcher

CHINESE_PUNCTUATION = "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏."


def english_words(text: str) -> list[str]:
    """Lower-case words without punctuation and articles."""
    plain = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def chinese_words(text: str) -> list[str]:
    """Words as jieba cuts them, lower case, without punctuation and white space."""
    import jieba

    marks = set(string.punctuation + CHINESE_PUNCTUATION)
    plain = (
        "".join(c for c in word.lower() if c not in marks and not c.isspace())
        for word in jieba.cut(text, cut_all=False)
    )
    return [word for word in plain if word]


def f1(prediction: str, gold: str, chinese: bool = False) -> float:
    """F1 of the two bags of words."""
    cut = chinese_words if chinese else english_words
    said, wanted = cut(prediction), cut(gold)
    common = sum((Counter(said) & Counter(wanted)).values())
    return 200 * common / (len(said) + len(wanted)) if common else 0.0


def rouge_l(prediction: str, gold: str, chinese: bool = False) -> float:
    """ROUGE-L F of the `rouge` package; 0 where a side holds no sentence."""
    from rouge import Rouge

    if chinese:
        import jieba

        prediction, gold = (" ".join(jieba.cut(text, cut_all=False)) for text in (prediction, gold))
    if not prediction.strip(" .\n\t\r") or not gold.strip(" .\n\t\r"):
        return 0.0
    return (
        100 * Rouge(metrics=["rouge-l"]).get_scores([prediction], [gold], avg=True)["rouge-l"]["f"]
    )


def classification(prediction: str, gold: str, classes: tuple[str, ...]) -> float:
    """100 over the number of classes named, where gold is among them."""
    named = [name for name in classes if name in prediction]
    for name in named:  # removes while iterating, as LongBench does: scores stay comparable
        if name in gold and name != gold:
            named.remove(name)
    return 100 / len(named) if gold in named else 0.0


def number_share(prediction: str, number: str) -> float:
    """Share of the numbers in the prediction that are `number`."""
    found = re.findall(r"\d+", prediction)
    return 100 * found.count(number) / len(found) if found else 0.0


def retrieval(prediction: str, gold: str, chinese: bool = False) -> float:
    """Share of the numbers said that name the gold paragraph; ValueError for gold of another
    form.
    """
    match = re.search(r"段落(\d+)" if chinese else r"Paragraph (\d+)", gold)
    if match is None:
        raise ValueError(f"gold answer {gold!r} names no paragraph")
    return number_share(prediction, match[1])


def code_similarity(prediction: str, gold: str) -> float:
    """Edit similarity, in whole points, of the first line that holds none of backtick, '#' and
    '//'.

    fuzzywuzzy's `ratio` as it is without python-Levenshtein, which would count differently where it
    is installed.
    """
    lines = prediction.lstrip("\n").split("\n")
    code = next((line for line in lines if not any(mark in line for mark in ("`", "#", "//"))), "")
    return float(round(100 * SequenceMatcher(None, code, gold).ratio())) if code else 0.0


def first_line(prediction: str) -> str:
    """The first line after leading newlines."""
    return prediction.lstrip("\n").split("\n")[0]
