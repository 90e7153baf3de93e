"""`python -m ffbench sample`: text that a model writes itself, to fit plans on."""

import shlex
from contextlib import closing
from pathlib import Path
from typing import Any

from ffbench.cli.compose import Job, jobs_of
from ffbench.cli.errors import refuse
from ffbench.cli.options import Parser, expanded
from ffbench.cli.preflight import job_problems
from ffbench.runs.answers import AnswerLog
from ffbench.runs.files import disk_errors, make_folder, read_json, write_json
from ffbench.runs.progress import progress_bar

HELP = """Text that a model writes itself, to fit plans on where you have none like your prompts.

python -m ffbench sample FOLDER model=NAME               write calibration.tokens tokens of it, in
                                                         documents of up to calibration.window
python -m ffbench model=NAME calibration.folder=FOLDER   fit plans on it

Documents are drawn from the model's own distribution, half of them as a user's first words if
there is a chat template; the same seed gives the same text. A command that was stopped resumes
where it was. Files of your own may be added to the folder."""
TEXT, SETTINGS = "samples.jsonl", "samples.json"


def main(arguments: list[str]) -> int:
    """0 when the text is there, 2 for bad input."""
    parser = Parser("sample", HELP, settings=True)
    parser.add_argument("folder", type=lambda path: Path(expanded(path)))
    options = parser.parse(arguments)
    jobs = jobs_of(options.settings)
    if len(jobs) != 1:
        return refuse([f"sample: {len(jobs)} jobs were given; choose one value per setting"])
    return write_text(options.folder, jobs[0], shlex.join(options.settings))


def write_text(folder: Path, job: Job, words: str) -> int:
    """Write the text of a job's model into the folder, or what is missing of it; `words` are the
    job's settings as they were given.
    """
    from ffbench.experiment.identity import fingerprint, model_spec
    from ffbench.experiment.self_text import SelfText, documents
    from ffbench.experiment.session import loaded

    s = job.settings
    named = fingerprint(s)
    what = SelfText(named["model"], named["name"], s.seed, s.calibration.window)
    problems = job_problems([job]) + folder_problems(folder, what.as_dict())
    if problems:
        return refuse(problems)
    log = AnswerLog(folder / TEXT)
    known = log.read()
    tokens, wanted = sum(line["tokens"] for line in known), s.calibration.tokens
    if tokens < wanted:
        model, tokenizer = loaded(model_spec(s))
        with disk_errors("write", folder):
            make_folder(folder)
        write_json(folder / SETTINGS, what.as_dict())
        with closing(log), progress_bar(total=wanted - tokens, desc="sample: tokens") as bar:
            for document in documents(model, tokenizer, what, len(known)):
                log.append(document)
                known.append(document)
                bar.update(min(document["tokens"], wanted - tokens))
                tokens += document["tokens"]
                if tokens >= wanted:
                    break
    print(f"{folder / TEXT}: {len(known)} documents, {tokens} tokens of {what.name}")
    print(f"next: python -m ffbench {words} calibration.folder={shlex.quote(str(folder))}")
    return 0


def folder_problems(folder: Path, made_by: dict[str, Any]) -> list[str]:
    """Why the text cannot be written there: something else is."""
    if not folder.exists():
        return []
    if not folder.is_dir():
        return [f"folder: {folder} is a file; choose a folder"]
    if not (folder / TEXT).exists():
        return []
    if not (folder / SETTINGS).exists():
        return [f"folder: {folder / TEXT} was not written by this command; choose another folder"]
    before = read_json(folder / SETTINGS)
    if before == made_by:
        return []
    changed = [name for name, value in made_by.items() if before.get(name) != value]
    return [
        f"folder: {folder} holds text that was written with another {' and '.join(changed)}; "
        "choose another folder"
    ]
