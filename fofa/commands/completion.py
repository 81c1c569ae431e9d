"""`fofa completion`: a script for a shell that completes programs and options.

The script is static: it holds the words as they are now, and asks no program while one types.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from fofa.commands.cli import make_app, run_app
from fofa.commands.help import VERSION_HELP, ending
from fofa.commands.start import Program
from fofa.commands.umbrella import OWN, PREFIX, programs, summary_of
from fofa.errors import UserError

app = make_app("Print what completes options in bash, zsh or fish.")
Words = dict[str, dict[str, str]]
"""For each command (`search`, `predictor train`) its options with one line on each."""


def all_words() -> Words:
    """The options of every program that is installed, commands inside a program before itself.

    So they are told apart: of two patterns that match, a shell takes the first.
    """
    found: Words = {}
    for word, program in programs().items():
        found[word] = {}
        if isinstance(program, Program):
            command = typer.main.get_command(importlib.import_module(program.module).app)
            for inner, options in _commands(command):
                found[f"{word} {inner}".strip()] = options
    return dict(sorted(found.items(), key=lambda item: " " not in item[0]))


def _commands(command: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """A program's own options under an empty name, and those of each command inside it."""
    options = {"--help": "Show this message and exit.", VERSION_HELP[0]: VERSION_HELP[1]}
    for param in command.params:
        if param.param_type_name == "option":
            line = " ".join((param.help or "").split()).partition(". ")[0]
            options |= dict.fromkeys((*param.opts, *param.secondary_opts), line)
    yield "", options
    for name, inner in getattr(command, "commands", {}).items():
        for _, its_options in _commands(inner):
            yield name, its_options


def bash(words: Words) -> str:
    """A script for bash."""
    cases = "\n".join(
        f"    {_pattern(command)}) words={_quoted(' '.join([*_inner(words, command), *options]))};;"
        for command, options in words.items()
    )
    names = _quoted(" ".join(word for word in words if " " not in word))
    return f"""# fofa completion bash: source it, or keep it where bash-completion looks.
_fofa() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} words= program=${{COMP_WORDS[0]##*/}} first=1
  COMPREPLY=()
  if [[ $program == fofa ]]; then
    if ((COMP_CWORD == 1)); then
      COMPREPLY=($(compgen -W {names} -- "$current"))
      return
    fi
    program=${{COMP_WORDS[1]}} first=2
  fi
  local inner=${{COMP_WORDS[first]}}
  program=${{program#{PREFIX}}}
  ((COMP_CWORD > first)) || inner=
  case "$program $inner" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _fofa fofa {_scripts(words)}
"""


def zsh(words: Words) -> str:
    """A script for zsh."""
    names = " ".join(
        _quoted(f"{word}:{_described(line)}") for word, line in _summaries(words).items()
    )
    cases = "\n".join(
        f"    {_pattern(command)}) options=("
        + " ".join(
            [
                *(_quoted(word) for word in _inner(words, command)),
                *(_quoted(f"{name}:{_described(line)}") for name, line in options.items()),
            ]
        )
        + ");;"
        for command, options in words.items()
    )
    return f"""#compdef fofa {_scripts(words)}
# fofa completion zsh: keep it as _fofa in a folder of $fpath.
_fofa() {{
  local -a options programs
  local program=${{words[1]:t}} inner= first=2
  programs=({names})
  if [[ $program == fofa ]]; then
    if ((CURRENT == 2)); then
      _describe program programs
      return
    fi
    program=$words[2] first=3
  fi
  ((CURRENT > first)) && inner=$words[first]
  program=${{program#{PREFIX}}}
  case "$program $inner" in
{cases}
  esac
  _describe option options
  _files
}}
if [ "$funcstack[1]" = "_fofa" ]; then _fofa "$@"; else compdef _fofa fofa {_scripts(words)}; fi
"""


def fish(words: Words) -> str:
    """A script for fish."""
    lines = ["# fofa completion fish: keep it as fofa.fish in ~/.config/fish/completions."]
    top = list(_summaries(words).items())
    none_yet = "__fish_use_subcommand"
    lines += [
        f"complete -c fofa -f -n {none_yet} -a {word} -d {_quoted(line)}" for word, line in top
    ]
    for command, options in words.items():
        word, _, inner = command.partition(" ")
        seen = f"__fish_seen_subcommand_from {word}"
        inside = f"; and __fish_seen_subcommand_from {inner}" if inner else ""
        for other in words if not inner else ():
            if other.endswith(f" {word}"):  # `fofa predictor train` is not `fofa train`
                inside += f"; and not __fish_seen_subcommand_from {other.partition(' ')[0]}"
        of_script = f" -n {_quoted(f'__fish_seen_subcommand_from {inner}')}" if inner else ""
        for name, line in options.items():
            kind = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
            lines.append(f"complete -c fofa -n {_quoted(seen + inside)} {kind} -d {_quoted(line)}")
            if word not in OWN:
                lines.append(f"complete -c {PREFIX}{word}{of_script} {kind} -d {_quoted(line)}")
        if inner:
            lines.append(f"complete -c fofa -n {_quoted(seen)} -a {inner}")
            lines.append(f"complete -c {PREFIX}{word} -n {none_yet} -a {inner}")
    return "\n".join([*lines, ""])


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}


def _inner(words: Words, command: str) -> list[str]:
    """The commands inside a program that has several."""
    return [word.partition(" ")[2] for word in words if word.startswith(f"{command} ")]


def _summaries(words: Words) -> dict[str, str]:
    found = programs()
    return {word: summary_of(found[word]) for word in words if " " not in word}


def _scripts(words: Words) -> str:
    return " ".join(f"{PREFIX}{word}" for word in words if " " not in word and word not in OWN)


def _pattern(command: str) -> str:
    """What matches a command in a `case`; of several commands the longer name comes first."""
    word, _, inner = command.partition(" ")
    return f'"{word} {inner}"' if inner else f'"{word} "*'


def _quoted(text: str) -> str:
    """`text` as one word of a shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def _described(text: str) -> str:
    """`text` as zsh describes a word with."""
    return text.replace(":", "\\:")


@app.command(
    epilog=ending("fofa completion bash > ~/.local/share/bash-completion/completions/fofa")
)
def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")],
) -> None:
    """Print what completes programs and options in a shell."""
    if shell not in SHELLS:
        raise UserError(f"shell {shell!r}: expected one of {', '.join(SHELLS)}")
    print(SHELLS[shell](all_words()), end="")


def main() -> None:
    """The program `fofa completion`."""
    run_app(app, "fofa completion")


if __name__ == "__main__":
    main()
