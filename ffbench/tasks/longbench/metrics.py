"""LongBench's metrics, in points (0 to 100), for one prediction and one gold answer."""

import re
import string
from collections import Counter
from difflib import SequenceMatcher

from ffbench.tasks.base import first_code_line

CHINESE_PUNCTUATION = (
    "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣"
    "､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏."
)


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
    predicted, wanted = cut(prediction), cut(gold)
    common = sum((Counter(predicted) & Counter(wanted)).values())
    return 200 * common / (len(predicted) + len(wanted)) if common else 0.0


def rouge_l(prediction: str, gold: str, chinese: bool = False) -> float:
    """ROUGE-L F of the `rouge` package; 0 if it fails, which is LongBench's own rule.

    It fails for text without a sentence, and with a RecursionError for sentences of some hundred
    words (a bulleted list is one sentence).
    """
    from rouge import Rouge

    if chinese:
        import jieba

        prediction, gold = (" ".join(jieba.cut(text, cut_all=False)) for text in (prediction, gold))
    try:
        scores = Rouge(metrics=["rouge-l"]).get_scores([prediction], [gold], avg=True)
    except Exception:  # whatever it is: LongBench's metric catches everything too
        return 0.0
    return 100 * float(scores["rouge-l"]["f"])


def classification(prediction: str, gold: str, classes: tuple[str, ...]) -> float:
    """100 over the number of classes named, if gold is among them; else 0."""
    named = [name for name in classes if name in prediction]
    for name in named:  # removed while iterating, as LongBench does: scores stay comparable
        if name in gold and name != gold:
            named.remove(name)
    return 100 / len(named) if gold in named else 0.0


def number_share(prediction: str, number: str) -> float:
    """Share of the numbers in the prediction that are `number`."""
    numbers = re.findall(r"\d+", prediction)
    return 100 * numbers.count(number) / len(numbers) if numbers else 0.0


def gold_paragraph(gold: str, chinese: bool = False) -> str | None:
    """Number of the paragraph that a gold answer names; None if it names none."""
    match = re.search(r"段落(\d+)" if chinese else r"Paragraph (\d+)", gold)
    return match and match[1]


def retrieval(prediction: str, gold: str, chinese: bool = False) -> float:
    """Share of the numbers in the prediction that name the gold paragraph.

    Raises ValueError for gold that names none; records are checked for it when they are read.
    """
    number = gold_paragraph(gold, chinese)
    if number is None:
        raise ValueError(f"gold answer {gold!r} names no paragraph")
    return number_share(prediction, number)


def code_similarity(prediction: str, gold: str) -> float:
    """Edit similarity, in whole points, of the first line without a backtick or comment mark.

    This is fuzzywuzzy's `ratio` without python-Levenshtein, which counts differently if it is
    installed.
    """
    code = first_code_line(prediction)
    return float(round(100 * SequenceMatcher(None, code, gold).ratio())) if code else 0.0


def first_line(prediction: str) -> str:
    """The first line after leading newlines."""
    return prediction.lstrip("\n").split("\n")[0]
