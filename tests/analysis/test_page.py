"""The page's HTML: self-contained, escaped, every run with its command, configuration and
provenance."""

import html
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ffanalysis import load
from ffanalysis.gallery import PICTURES
from ffanalysis.page import answers, build, svg
from ffanalysis.page.build import cards
from ffanalysis.source import Source
from ffbench.cli.main import main

NASTY = '</script><img src=x onerror="alert(1)">&"\''


class Seen(HTMLParser):
    """Tags and ids as a browser would see them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def seen(text: str) -> Seen:
    parser = Seen()
    parser.feed(text)
    return parser


@pytest.fixture(scope="module")
def page() -> str:
    recorded = Path(__file__).parents[1] / "recorded" / "data"
    return build(Source(recorded, recorded))


def test_nothing_comes_from_elsewhere(page: str) -> None:
    for tag, attributes in seen(page).tags:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:")), (tag, name, value)
    assert "@import" not in page and "url(http" not in page and "default-src 'none'" in page


def test_no_id_is_used_twice(page: str) -> None:
    ids = [attributes["id"] for _, attributes in seen(page).tags if "id" in attributes]
    assert len(ids) == len(set(ids)) and all(f"picture-{name}" in ids for name in PICTURES)
    for target in re.findall(r'(?:href="#|url\(#)([^")]+)', page):
        assert target in ids, target


def test_every_run_has_its_command_configuration_and_provenance(page: str, recorded: Path) -> None:
    for row in load.runs(recorded).itertuples():
        part = page.split(f'id="run-{row.run_key}"')[1].split("</details>")[0]
        config = json.loads((recorded / "runs" / row.run_key / "config.json").read_text())
        blocks = [
            html.unescape(text) for text in re.findall(r"<pre[^>]*>(.*?)</pre>", part, re.DOTALL)
        ]
        assert html.unescape(part.split("<code>")[1].split("</code>")[0]) == row.command
        assert (
            json.loads(blocks[0]) == config
            and json.loads(blocks[1])["recording"] == "test, not measured"
        )


def test_headline_leaves_oracles_out_and_takes_the_lowest_kl(page: str) -> None:
    head = page.split('id="headline"')[1].split('id="reading"')[0]
    assert "oracle +" not in head and "trained + surrogate (output_map_rank 104" in head
    assert "answer KL 0.0" in head and "(1.0" in head


def test_only_a_run_that_is_faster_than_dense_gets_a_headline(
    page: str, change: Callable, copied: Path
) -> None:
    assert "sparsity 0.3" not in page.split('id="headline"')[1].split("</section>")[0]  # slower
    speed = {"ttft": [{"tokens": 2048, "ratio": 1.1, "p20": 0.98, "p80": 1.2}]}
    change(6, speed=speed)
    source = Source(copied, run_keys=[f"{6:016x}"])
    assert cards(source.runs()) == []
    change(6, speed={"ttft": [{"tokens": 2048, "ratio": 1.1, "p20": 1.01, "p80": 1.2}]})
    (card,) = cards(Source(copied, run_keys=[f"{6:016x}"]).runs())
    assert card.speed == "1.10x" and card.key == f"{6:016x}"


def test_seeds_are_one_row_with_every_run_behind_it(page: str) -> None:
    row = page.split(f'<tbody id="run-{6:016x}"')[1].split("</tbody>")[0]
    assert row.count("<details") == 3 and f'<details id="run-{33:016x}"' in row
    table = page.split("<thead>")[1].split("</thead>")[0]
    assert 'title="runs of this setting' in table and ">rank</button>" not in table
    assert "compensator surrogate (rank 128" in page.split("Fixed in all rows:")[1][:900]


def test_answers_are_side_by_side_with_changed_ones_first(copied: Path, page: str) -> None:
    pairs = answers.side_by_side(Source(copied)).pairs
    assert pairs and "Dense <small>" in page and "gold 0" in page
    of_one_run = [pair.changed for pair in pairs if pair.run_key == f"{6:016x}"]
    assert of_one_run == sorted(of_one_run, reverse=True)
    assert pairs[0].dense.endswith("of dense") and not pairs[0].sparse.endswith("of dense")


def test_every_task_has_its_turn_and_changed_scores_go_first() -> None:
    def pair(task: str, number: int, changed: bool) -> answers.Pair:
        return answers.Pair("run", task, str(number), "", "", "", "", 0.0, float(changed))

    pairs = [pair("a", n, n in (2, 3)) for n in range(5)] + [pair("b", n, n == 4) for n in range(5)]
    order = [(p.task, p.record_id) for p in answers.in_turn(pairs)]
    assert order[:3] == [("a", "2"), ("b", "4"), ("a", "3")]
    assert order[3:7] == [("a", "0"), ("b", "0"), ("a", "1"), ("b", "1")] and len(order) == 10


def test_the_end_of_the_prompt_is_shown_and_answers_not_decoded_are_not(copied: Path) -> None:
    path = copied / "runs" / f"{6:016x}" / "answers.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [row | {"prompt_tail": f"<asked {row['record_id']}>"} for row in rows]
    rows[0]["prediction"] = rows[0]["score"] = None
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = Source(copied, copied / "none", [f"{6:016x}"])
    shown = {(pair.task, pair.record_id) for pair in answers.side_by_side(source).pairs}
    assert (rows[0]["task"], rows[0]["record_id"]) not in shown
    text = build(source)
    assert "End of the prompt" in text and html.escape(f"<asked {rows[1]['record_id']}>") in text


def test_answers_are_bounded_and_say_what_is_left_out(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "PER_RUN", 3)
    monkeypatch.setattr(answers, "IN_ALL", 5)
    monkeypatch.setattr(answers, "CHARACTERS", 4)
    shown = answers.side_by_side(Source(copied))
    assert len(shown.pairs) == 5 and shown.pairs[0].sparse == "answ…"
    every = sum(len(path.read_text().splitlines()) for path in copied.glob("runs/*/answers.jsonl"))
    assert shown.left_out == every - 5
    assert answers.shortened("0123456789", end=True) == "…6789"
    assert answers.side_by_side(Source(copied, run_keys=[f"{1:016x}"])).pairs == []


def test_everything_from_files_is_escaped(change: Callable, copied: Path) -> None:
    change(6, model=NASTY, selector=NASTY, task=NASTY)
    (copied / "runs" / f"{6:016x}" / "config.json").write_text(json.dumps({NASTY: NASTY}))
    (copied / "sweeps" / "sparsity.json").write_text(
        json.dumps({"name": NASTY, "jobs": [{"run_key": f"{6:016x}", "overrides": [NASTY]}]})
    )
    tags = seen(build(Source(copied, copied / "none", [f"{6:016x}"]))).tags
    assert not [
        tag for tag in tags if tag[0] == "img" or any(name.startswith("on") for name in tag[1])
    ]
    assert sum(tag == "script" for tag, _ in tags) == 1


def test_runs_copied_without_their_other_files_still_make_a_page(copied: Path) -> None:
    for name in ("config.json", "provenance.json"):
        (copied / "runs" / f"{6:016x}" / name).unlink()
    page = build(Source(copied, copied / "none", [f"{6:016x}"]))
    assert "config.json was not copied with this run" in page


def test_svg_ids_get_a_name_of_their_own() -> None:
    text = '<?xml version="1.0"?>\n<svg width="9pt" viewBox="0 0 9 9"><!-- x --><defs><path id="a"/></defs><use xlink:href="#a"/></svg>'
    assert (
        '<path id="n-a"/>' in svg.inline(text, "n")
        and 'href="#n-a"' in svg.inline(text, "n")
        and "<!--" not in svg.inline(text, "n")
    )
    with pytest.raises(ValueError, match="not an SVG"):
        svg.inline("<p>", "n")


def test_report_verb_writes_the_page_and_says_where(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "page.html"
    arguments = [
        "report",
        f"{6:016x}",
        f"{7:016x}",
        "--output-dir",
        str(recorded),
        "--bench-dir",
        str(tmp_path),
        "--format",
        "html",
    ]
    assert main([*arguments, "--to", str(target)]) == 0 and capsys.readouterr().out.strip() == str(
        target
    )
    assert target.read_text().count("<tbody") == 2 and "Not drawn" in target.read_text()
    assert main([*arguments, "--to", str(tmp_path)]) == 2
    assert "is a folder; give a file" in capsys.readouterr().err


def test_report_verb_without_runs_names_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--format", "html", "--output-dir", str(tmp_path)]) == 1
    assert "+sweep=sparsity" in capsys.readouterr().err
