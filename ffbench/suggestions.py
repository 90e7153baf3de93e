"""Sentences for names that do not exist: the nearest valid name, else all of them."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

# What papers and other packages call methods and settings that have another name here: the name in
# lower case without spaces, dashes and underscores -> the override that gives it.
PAPER_NAMES = {
    "griffin": "selector=griffin",
    "wanda": "selector=static selector.statistic=wanda",
    "flap": "selector=static selector.statistic=flap",
    "probepruning": "selector=probe",
    "fastforward": "selector=trained",
    "predictor": "selector=trained",
    "expertpredictor": "selector=trained",
    "errorcompensation": "compensator=lowrank",
    "errorcompensationnetwork": "compensator=lowrank",
    "magnitude": "selector=weight_norm",
    "rsparse": "compensator=rsparse",
    "length": "task.max_length",
    "lengths": "task.max_length",
    "maxseqlength": "task.max_length",
    "maxseqlengths": "task.max_length",
}


def paper_override(name: str) -> str | None:
    """The override that gives what papers call `name`; None if there is none."""
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    return PAPER_NAMES.get(plain)


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name most like `name` in any case; None if none is near."""
    by_lower = {valid_name.lower(): valid_name for valid_name in valid}
    near = get_close_matches(name.lower(), list(by_lower), 1)
    return by_lower[near[0]] if near else None


def suggestion(name: str, valid: Iterable[str], more: Mapping[str, str] | None = None) -> str:
    """What follows an unknown name: "did you mean" with the nearest valid one, else a full stop.

    `more` maps further names, in lower case, to what is to be typed in their place.
    """
    other = (more or {}).get(name.lower()) or paper_override(name)
    near = other or nearest(name, valid)
    return f"; did you mean {near!r}?" if near else "."


def unknown_name(key: str, name: str, valid: Iterable[str]) -> str:
    """The sentence for an unknown name of `key`, with the nearest valid one and all of them."""
    names = sorted(valid)
    return f"{key}: {name!r} is unknown{suggestion(name, names)} Valid: {', '.join(names)}"
