"""`python -m ffbench completion SHELL`: code that completes commands, groups and settings."""

from ffbench.cli.errors import DONE
from ffbench.cli.options import Parser

HELP = """Print shell code that completes the command `ffbench`.

bash   ffbench completion bash > ~/.ffbench-completion, then in .bashrc: source ~/.ffbench-completion
zsh    ffbench completion zsh > ~/.ffbench-completion, then in .zshrc, after compinit: source it
fish   ffbench completion fish > ~/.config/fish/completions/ffbench.fish"""
BASH = """_ffbench() {{
    local line="${{COMP_LINE:0:COMP_POINT}}" match
    local word="${{line##* }}" start=""
    case "$word" in *=*) start="${{word%=*}}=" ;; esac
    COMPREPLY=()
    for match in $(compgen -W "{words}" -- "$word"); do
        COMPREPLY+=("${{match#"$start"}}")
    done
}}
complete -o nospace -o default -F _ffbench ffbench
"""
ZSH = """_ffbench() {{
    compadd -S '' -- {words}
}}
compdef _ffbench ffbench
"""
FISH = "complete -c ffbench -f -a '{words}'\n"
SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def words() -> list[str]:
    """Everything that can follow the command."""
    from ffbench.cli.compose import configuration, group_options
    from ffbench.cli.help import OPTIONS
    from ffbench.cli.main import VERBS
    from ffbench.cli.overrides import PACKAGED, setting_keys

    with configuration():
        groups = group_options()
    chosen = [
        f"{'+' if group in PACKAGED else ''}{group}={option}"
        for group, options in groups.items()
        for option in options
    ]
    options = [name.split()[0] for name, _ in OPTIONS]
    return [*VERBS, *options, *chosen, *(f"{key}=" for key in setting_keys())]


def main(arguments: list[str]) -> int:
    """Print the code."""
    parser = Parser("completion", HELP)
    parser.add_argument("shell", choices=list(SHELLS))
    options = parser.parse(arguments)
    print(SHELLS[options.shell].format(words=" ".join(words())), end="")
    return DONE
