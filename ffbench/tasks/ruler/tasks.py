"""Eleven of RULER's thirteen tasks (arXiv 2404.06654; github.com/NVIDIA/RULER, commit c3f5e3b4):
needles in a haystack, variable tracking, common words and frequent words.

As RULER has them: the numbers of needles, keys, values and hops, the sentences of their prompts
and answers' beginnings, noise, seven-digit numbers and UUIDs, the 40 depths, the worked example
before variable tracking; how often common and other words occur (30 and 3 times, 6 times and once
below 4,096 tokens) and the worked example before them; coded words of six letters by Zipf's law
with exponent 2, one for 50 tokens, of which the first is dots; 128, 30, 120 and 50 answer tokens,
and the score, which is the share of the gold values that occur in the answer, in any case.
`task.max_length` is RULER's length: prompt and answer tokens together, the chat template included;
the haystack fills it.

What differs: prose is the embedded one, not Paul Graham's essays, begins at a random word in each
record and is cut into sentences by a regular expression, not by NLTK. Keys are pairs of our own
common words, not of wonderwords' lists, and no key occurs twice in a prompt. Each record fills its
length, where RULER sizes all by one estimate. The worked example has 12 lines of noise, where RULER
fills 500 tokens. The answer's beginning follows one space without a chat template and none after
one. Common and frequent words are asked in our own sentences. Common words are taken from the
embedded prose and our own ones, and numbered once these are used up, where RULER has larger lists.
Random numbers are drawn per record and purpose, so that records are not RULER's own. Left out is
question answering (qa_1, qa_2): it needs the documents of SQuAD and HotpotQA, which are a download.
"""

import re
from functools import partial

from ffbench.tasks.base import RecordChoice, TaskRecord, TaskSpec, add_task
from ffbench.tasks.metrics import string_match_all
from ffbench.tasks.ruler.common_words import CommonWords
from ffbench.tasks.ruler.filling import Draw, Generator, fill
from ffbench.tasks.ruler.frequent_words import FrequentWords
from ffbench.tasks.ruler.needles import Needles
from ffbench.tasks.ruler.variables import Variables

SUITE = "RULER's tasks, generated here"
RECORDS = 500  # RULER's number of samples per task
# of an answer
NEEDLE_TOKENS, VARIABLE_TOKENS, COMMON_TOKENS, FREQUENT_TOKENS = 128, 30, 120, 50
NEEDLE_TASKS = {
    "niah_single_1": Needles("noise"),
    "niah_single_2": Needles("prose"),
    "niah_single_3": Needles("prose", value="uuids"),
    "niah_multikey_1": Needles("prose", keys=4),
    "niah_multikey_2": Needles("needles"),
    "niah_multikey_3": Needles("needles", key="uuids", value="uuids"),
    "niah_multivalue": Needles("prose", values=4),
    "niah_multiquery": Needles("prose", keys=4, queries=4),
}
CONTROL = re.compile(r"[\x00-\x1f]")


def load(task: str, generator: Generator, choice: RecordChoice) -> list[TaskRecord]:
    """The first records of a task, without their contexts. The same seed gives the same ones."""
    count = RECORDS if choice.limit is None else choice.limit
    return [generator.record(Draw(task, choice.seed, number)) for number in range(count)]


def score(prediction: str, record: TaskRecord) -> float:
    """RULER's string match, after its cleaning: control characters count as line ends."""
    return string_match_all(CONTROL.sub("\n", prediction.strip()), record)


def register(task: str, category: str, generator: Generator, max_new_tokens: int) -> None:
    """Add one task to the registry."""
    add_task(
        TaskSpec(
            name=task,
            category=category,
            metric="string_match_all",
            max_new_tokens=max_new_tokens,
            load=partial(load, task, generator),
            score=score,
            chance=lambda records: 0.0,
            chat=True,
            suite=SUITE,
            fill=partial(fill, generator, max_new_tokens),
        )
    )


for name, needles in NEEDLE_TASKS.items():
    register(name, "retrieval", needles, NEEDLE_TOKENS)
register("ruler_vt", "variable tracking", Variables(), VARIABLE_TOKENS)
register("ruler_cwe", "aggregation", CommonWords(), COMMON_TOKENS)
register("ruler_fwe", "aggregation", FrequentWords(answer_tokens=FREQUENT_TOKENS), FREQUENT_TOKENS)
