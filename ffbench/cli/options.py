"""Options and settings of one command, in any order, with one-line errors."""

import argparse
import os
import re
from collections.abc import Sequence
from typing import NoReturn

from ffbench.cli.errors import UsageError
from ffbench.suggestions import suggestion

SETTING = re.compile(r"[+~]?[A-Za-z_][\w./@]*=")


def expanded(path: str) -> str:
    """A path with a leading ~ replaced by the home folder, as the shell does it."""
    return os.path.expanduser(path)


class Parser(argparse.ArgumentParser):
    """argparse that raises UsageError in place of printing its usage, and takes output_dir=FOLDER.

    With `settings` the command takes SETTING=VALUE words, given as `settings` of the result;
    without it the only one is output_dir.
    """

    def __init__(self, verb: str, description: str | None, *, settings: bool = False) -> None:
        name = "python -m ffbench"
        super().__init__(
            prog=f"{name} {verb}".strip(),
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.verb = verb
        self.takes_settings = settings
        self.add_argument(
            "--output-dir",
            type=expanded,
            default=None if settings else "outputs",
            help="folder of the runs, the same as output_dir=FOLDER (default: outputs)",
        )

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        named = f"{self.verb}: " if self.verb else ""
        raise UsageError(f"{named}{message}; see `{self.prog} --help`")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The options; `settings` holds the SETTING=VALUE words in their order."""
        if self.takes_settings:
            self.add_argument("settings", nargs="*", metavar="SETTING=VALUE")
        words = list(arguments) if self.takes_settings else self.without_settings(arguments)
        options, unknown = self.parse_known_intermixed_args(words)
        if unknown:
            raise UsageError("\n".join(map(self.unknown_word, unknown)))
        if self.takes_settings and options.output_dir is not None:
            options.settings.append(f"output_dir={quoted(options.output_dir)}")
        return options

    def without_settings(self, arguments: Sequence[str]) -> list[str]:
        """The arguments, output_dir=FOLDER as an option. Raises UsageError for other settings."""
        words: list[str] = []
        for before, word in zip(["", *arguments], arguments, strict=False):
            if word.startswith("output_dir="):
                words += ["--output-dir", word.partition("=")[2]]
            elif SETTING.match(word) and not before.startswith("-"):
                raise UsageError(self.unknown_word(word))
            else:
                words.append(word)
        return words

    def unknown_word(self, word: str) -> str:
        """The sentence for a word that this command does not take."""
        named = f"{self.verb}: " if self.verb else ""
        if word.startswith("-"):
            known = [option for option in self._option_string_actions if option.startswith("--")]
            return (
                f"{named}{word}: no such option{suggestion(word.partition('=')[0], known)} "
                f"Options: {', '.join(known)}"
            )
        if "=" in word:
            return f"{named}{word}: of settings only output_dir=FOLDER is taken here"
        return f"{named}{word}: not understood; see `{self.prog} --help`"


def quoted(value: str) -> str:
    """A text as one quoted value of Hydra's grammar."""
    return "'" + value.replace("\\'", "\\\\'").replace("'", "\\'") + "'"
