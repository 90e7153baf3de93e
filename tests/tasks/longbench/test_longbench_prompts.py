"""Golden prompts: for each task a small record and the whole prompt that LongBench's published
template makes of it.

The expected texts are written out, not computed from FFBench's task file.
"""

import json
from pathlib import Path

import pytest

from ffbench.tasks.registry import get_spec

# task: (context, input, prompt)
GOLDEN = {
    "narrativeqa": (
        "Ada met Bob. {Not a field}",
        "Whom did Ada meet?",
        (
            "You are given a story, which can be either a novel or a movie script, and a question. Answer the "
            "question asconcisely as you can, using a single phrase if possible. Do not provide any "
            "explanation.\n\nStory: Ada met Bob. {Not a field}\n\nNow, answer the question based on the story "
            "asconcisely as you can, using a single phrase if possible. Do not provide any explanation.\n\n"
            "Question: Whom did Ada meet?\n\nAnswer:"
        ),
    ),
    "qasper": (
        "We parse text {x}.",
        "What is parsed?",
        (
            "You are given a scientific article and a question. Answer the question as concisely as you can, "
            "using a single phrase or sentence if possible. If the question cannot be answered based on the "
            'information in the article, write "unanswerable". If the question is a yes/no question, answer '
            '"yes", "no", or "unanswerable". Do not provide any explanation.\n\nArticle: We parse text '
            "{x}.\n\n Answer the question based on the above article as concisely as you can, using a single "
            "phrase or sentence if possible. If the question cannot be answered based on the information in "
            'the article, write "unanswerable". If the question is a yes/no question, answer "yes", '
            '"no", or "unanswerable". Do not provide any explanation.\n\nQuestion: What is parsed?\n\n'
            "Answer:"
        ),
    ),
    "multifieldqa_en": (
        "The lamp is red.",
        "What colour is the lamp?",
        (
            "Read the following text and answer briefly.\n\nThe lamp is red.\n\nNow, answer the following "
            "question based on the above text, only give me the answer and do not output any other words.\n\n"
            "Question: What colour is the lamp?\nAnswer:"
        ),
    ),
    "multifieldqa_zh": (
        "灯是红色的。",
        "灯是什么颜色？",
        (
            "阅读以下文字并用中文简短回答：\n\n灯是红色的。\n\n"
            "现在请基于上面的文章回答下面的问题，只告诉我答案，不要输出任何其他字词。\n\n问题：灯是什么颜色？\n"
            "回答："
        ),
    ),
    "hotpotqa": (
        "Passage 1:\nOslo is a city.",
        "Is Oslo a city?",
        (
            "Answer the question based on the given passages. Only give me the answer and do not output any "
            "other words.\n\nThe following are given passages.\nPassage 1:\nOslo is a city.\n\nAnswer the "
            "question based on the given passages. Only give me the answer and do not output any other "
            "words.\n\nQuestion: Is Oslo a city?\nAnswer:"
        ),
    ),
    "2wikimqa": (
        "Passage 1:\nRome is old.",
        "Is Rome old?",
        (
            "Answer the question based on the given passages. Only give me the answer and do not output any "
            "other words.\n\nThe following are given passages.\nPassage 1:\nRome is old.\n\nAnswer the "
            "question based on the given passages. Only give me the answer and do not output any other "
            "words.\n\nQuestion: Is Rome old?\nAnswer:"
        ),
    ),
    "musique": (
        "Passage 1:\nThe Po flows.",
        "What flows?",
        (
            "Answer the question based on the given passages. Only give me the answer and do not output any "
            "other words.\n\nThe following are given passages.\nPassage 1:\nThe Po flows.\n\nAnswer the "
            "question based on the given passages. Only give me the answer and do not output any other "
            "words.\n\nQuestion: What flows?\nAnswer:"
        ),
    ),
    "dureader": (
        "文章1\n水是液体。",
        "水是什么？",
        (
            "请基于给定的文章回答下述问题。\n\n文章：文章1\n水是液体。\n\n请基于上述文章回答下面的问题。\n\n"
            "问题：水是什么？\n回答："
        ),
    ),
    "gov_report": (
        "Roads need repair.",
        "",
        (
            "You are given a report by a government agency. Write a one-page summary of the report.\n\n"
            "Report:\nRoads need repair.\n\nNow, write a one-page summary of the report.\n\nSummary:"
        ),
    ),
    "qmsum": (
        "Chair: We begin.",
        "What did the chair say?",
        (
            "You are given a meeting transcript and a query containing a question or instruction. Answer the "
            "query in one or more sentences.\n\nTranscript:\nChair: We begin.\n\nNow, answer the query based "
            "on the above meeting transcript in one or more sentences.\n\nQuery: What did the chair say?\n"
            "Answer:"
        ),
    ),
    "multi_news": (
        "Passage 1:\nRain fell.",
        "",
        (
            "You are given several news passages. Write a one-page summary of all news. \n\nNews:\nPassage 1:\n"
            "Rain fell.\n\nNow, write a one-page summary of all the news.\n\nSummary:"
        ),
    ),
    "vcsum": (
        "主席：开会。",
        "",
        (
            "下面有一段会议记录，请你阅读后，写一段总结，总结会议的内容。\n会议记录：\n主席：开会。\n\n"
            "会议总结："
        ),
    ),
    "trec": (
        "Question: What is a lynx ?\nType: Animal",
        "Question: Where is Oslo ?\nType:",
        (
            "Please determine the type of the question below. Here are some examples of questions.\n\n"
            "Question: What is a lynx ?\nType: Animal\nQuestion: Where is Oslo ?\nType:"
        ),
    ),
    "triviaqa": (
        "Passage:\nA.\nQuestion:\nB?\nAnswer:\nC",
        "Passage:\nD.\nQuestion:\nE?\nAnswer:\n",
        (
            "Answer the question based on the given passage. Only give me the answer and do not output any "
            "other words. The following are some examples.\n\nPassage:\nA.\nQuestion:\nB?\nAnswer:\nC\n\n"
            "Passage:\nD.\nQuestion:\nE?\nAnswer:\n"
        ),
    ),
    "samsum": (
        "Dialogue: A: hi\r\nB: hi\nSummary: They greet.",
        "Dialogue: C: bye\nSummary: ",
        (
            "Summarize the dialogue into a few short sentences. The following are some examples.\n\nDialogue: "
            "A: hi\r\nB: hi\nSummary: They greet.\n\nDialogue: C: bye\nSummary: "
        ),
    ),
    "lsht": (
        "新闻内容：\n球赛\n类别：体育",
        "新闻内容：\n股市\n类别：",
        (
            "请判断给定新闻的类别，下面是一些例子。\n\n新闻内容：\n球赛\n类别：体育\n新闻内容：\n股市\n类别："
        ),
    ),
    "passage_count": (
        "Paragraph 1: A.\n\nParagraph 2: A.",
        "",
        (
            "There are some paragraphs below sourced from Wikipedia. Some of them may be duplicates. Please "
            "carefully read these paragraphs and determine how many unique paragraphs there are after removing "
            "duplicates. In other words, how many non-repeating paragraphs are there in total?\n\nParagraph 1: "
            "A.\n\nParagraph 2: A.\n\nPlease enter the final count of unique paragraphs after removing "
            "duplicates. The output format should only contain the number, such as 1, 2, 3, and so on.\n\nThe "
            "final answer is: "
        ),
    ),
    "passage_retrieval_en": (
        "Paragraph 1: A.\n\nParagraph 2: B.",
        "It is about B.",
        (
            "Here are 30 paragraphs from Wikipedia, along with an abstract. Please determine which paragraph "
            "the abstract is from.\n\nParagraph 1: A.\n\nParagraph 2: B.\n\nThe following is an abstract.\n\n"
            "It is about B.\n\nPlease enter the number of the paragraph that the abstract is from. The answer "
            'format must be like "Paragraph 1", "Paragraph 2", etc.\n\nThe answer is: '
        ),
    ),
    "passage_retrieval_zh": (
        "段落1：甲。\n\n段落2：乙。",
        "关于乙。",
        (
            "以下是若干段落文字，以及其中一个段落的摘要。请确定给定的摘要出自哪一段。\n\n段落1：甲。\n\n"
            "段落2：乙。\n\n下面是一个摘要\n\n关于乙。\n\n"
            '请输入摘要所属段落的编号。答案格式必须是"段落1"，"段落2"等格式\n\n答案是：'
        ),
    ),
    "lcc": (
        "def f(x):\n    y = {x: 1}\n",
        "",
        ("Please complete the code given below. \ndef f(x):\n    y = {x: 1}\nNext line of code:\n"),
    ),
    "repobench-p": (
        "# a.py\nA = 1\n",
        "from a import A\nprint(A)\n",
        (
            "Please complete the code given below. \n# a.py\nA = 1\nfrom a import A\nprint(A)\nNext line of "
            "code:\n"
        ),
    ),
}


def write(folder: Path, task: str, context: str, question: str) -> str:
    row = {
        "_id": "a",
        "dataset": task,
        "input": question,
        "context": context,
        "answers": ["段落1" if task.endswith("_zh") else "Paragraph 1"],
        "all_classes": ["x"],
        "length": 3,
        "language": "en",
    }
    (folder / f"{task}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize("task", GOLDEN)
def test_golden_prompt(tmp_path: Path, task: str) -> None:
    context, question, expected = GOLDEN[task]
    (record,) = get_spec(task).records(None, write(tmp_path, task, context, question))
    assert record.context + record.question == expected
    assert record.context.endswith(context)


@pytest.mark.parametrize("task", ["qasper", "trec", "lcc"])
def test_longbench_e_has_the_same_prompts(tmp_path: Path, task: str) -> None:
    context, question, expected = GOLDEN[task]
    (record,) = get_spec(f"{task}_e").records(None, write(tmp_path, f"{task}_e", context, question))
    assert record.context + record.question == expected


def test_every_task_has_a_golden_prompt() -> None:
    assert len(GOLDEN) == 21
