"""`fofa completion`: a script for a shell that completes programs, options and their words.

The script is static: it holds the words as they are now, and asks no program while one types.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from fofa.commands.cli import make_app, run_app
from fofa.commands.help import ending
from fofa.commands.umbrella import OWN, PREFIX, programs, summary_of
from fofa.commands.words import OWN_OPTIONS, Option, Words, all_words
from fofa.errors import UserError

app = make_app("Print what completes options in bash, zsh or fish.")


def bash(words: Words) -> str:
    """A script for bash."""
    commands = "\n".join(
        f"    {_pattern(name)}) command={_quoted(name)} "
        f"options={_quoted(' '.join(command.options))}"
        + _setting("arguments", " ".join(_arguments(words, name)))
        + (" files=1" if command.argument else "")
        + ";;"
        for name, command in words.items()
    )

    def values(option: Option) -> str:
        if option.values:
            return f"_fofa_offer {_quoted(' '.join(option.values))}; return"
        return "compopt +o default; return" if option.takes == "number" else "return"

    names = _quoted(" ".join(_programs(words)))
    return f"""# fofa completion bash: keep it in a file, and `source` that in ~/.bashrc.
_fofa_offer() {{ COMPREPLY=($(compgen -W "$1" -- "$current")); }}
_fofa() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}
  local program=${{COMP_WORDS[0]##*/}} first=1 command= options= arguments= files=
  COMPREPLY=()
  if [[ $current == = ]]; then
    current=
  elif [[ $previous == = ]]; then
    previous=${{COMP_WORDS[COMP_CWORD - 2]}}
  fi
  if [[ $program == fofa ]]; then
    if ((COMP_CWORD == 1)); then
      command= options={_quoted(" ".join(OWN_OPTIONS))} arguments={names}
    fi
    program=${{COMP_WORDS[1]}} first=2
  fi
  local inner=${{COMP_WORDS[first]}}
  program=${{program#{PREFIX}}}
  ((COMP_CWORD > first)) || inner=
  [[ $arguments ]] || case "$program $inner" in
{commands}
  esac
  case "$command $previous" in
{_cases(words, values)}
  esac
  if [[ $current == -* ]]; then
    _fofa_offer "$options"
  elif [[ $arguments ]]; then
    _fofa_offer "$arguments"
  elif [[ -z $files ]]; then
    _fofa_offer "$options"
  fi
}}
complete -o default -F _fofa fofa {_scripts(words)}
"""


def zsh(words: Words) -> str:
    """A script for zsh."""
    commands = "\n".join(
        f"    {_pattern(name)}) command={_quoted(name)} options=("
        + _all_described({option: found.line for option, found in command.options.items()})
        + ")"
        + _setting("arguments", " ".join(_arguments(words, name)), "()")
        + (" files=1" if command.argument else "")
        + ";;"
        for name, command in words.items()
    )

    def values(option: Option) -> str:
        offers = f"compadd -- {' '.join(option.values)}; " if option.values else ""
        files = option.takes == "text" and (option.files_too or not option.values)
        return f"{offers}{'_files; ' if files else ''}return"

    own = _all_described({name: option.line for name, option in OWN_OPTIONS.items()})
    return f"""#compdef fofa {_scripts(words)}
# fofa completion zsh: keep it as _fofa in a folder of $fpath.
_fofa() {{
  local -a options arguments programs
  local program=${{words[1]:t}} current=$words[CURRENT] previous=$words[CURRENT-1]
  local command= inner= first=2 files=
  if [[ $current == --*=* ]]; then
    previous=${{current%%=*}}
    compset -P '*='
  fi
  programs=({_all_described(_summaries(words))})
  if [[ $program == fofa ]]; then
    if ((CURRENT == 2)); then
      options=({own})
      [[ $current == -* ]] && _describe option options || _describe program programs
      return
    fi
    program=$words[2] first=3
  fi
  ((CURRENT > first)) && inner=$words[first]
  program=${{program#{PREFIX}}}
  case "$program $inner" in
{commands}
  esac
  case "$command $previous" in
{_cases(words, values)}
  esac
  if [[ $current == -* ]]; then
    _describe option options
  elif (($#arguments)); then
    compadd -a arguments
  elif [[ $files ]]; then
    _files
  else
    _describe option options
  fi
}}
if [ "$funcstack[1]" = "_fofa" ]; then _fofa "$@"; else compdef _fofa fofa {_scripts(words)}; fi
"""


FISH_BEGINS = """\
# fofa completion fish: keep it as ~/.config/fish/conf.d/fofa.fish.
function __fofa_after  # the words so far are these
  set -l typed (commandline -opc)
  test "$typed[2..]" = "$argv"
end
function __fofa_in  # the words so far begin with these
  set -l typed (commandline -opc) ''
  test "$typed[2..]" = "$argv" || string match -q -- "$argv *" "$typed[2..]"
end
"""


def fish(words: Words) -> str:
    """A script for fish."""
    lines = [FISH_BEGINS + "complete -c fofa -f -n __fofa_after"]
    for word, line in _summaries(words).items():
        lines.append(f"complete -c fofa -n __fofa_after -a {word} -d {_quoted(line)}")
    for name, option in OWN_OPTIONS.items():
        lines.append(f"complete -c fofa -n __fofa_after {_in_fish(name, option)}")
    for called, command in words.items():
        word, _, inner = called.partition(" ")
        callers = {"fofa": called} if word in OWN else {"fofa": called, f"{PREFIX}{word}": inner}
        for caller, rest in callers.items():
            inside = f"complete -c {caller}"
            inside += f" -n {_quoted(f'__fofa_in {rest}')}" if rest else ""
            lines += [f"{inside} {_in_fish(*item)}" for item in command.options.items()]
            if not command.argument or command.argument.values:
                lines.append(f"{inside} -f")
            for argument in _arguments(words, called):
                after = _quoted(f"__fofa_after {rest}".strip())
                lines.append(f"complete -c {caller} -n {after} -a {argument}")
    return "\n".join([*lines, ""])


def _in_fish(name: str, option: Option) -> str:
    """An option as fish's `complete` takes it."""
    kind = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
    if option.values:
        kind += " -r" if option.files_too else " -x"
        kind += f" -a {_quoted(' '.join(option.values))}"
    elif option.takes != "nothing":
        kind += " -x" if option.takes == "number" else " -r -F"
    return f"{kind} -d {_quoted(option.line)}"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}


def _programs(words: Words) -> list[str]:
    """The words after `fofa`."""
    return [word for word in words if " " not in word]


def _summaries(words: Words) -> dict[str, str]:
    found = programs()
    return {word: summary_of(found[word]) for word in _programs(words)}


def _scripts(words: Words) -> str:
    return " ".join(f"{PREFIX}{word}" for word in _programs(words) if word not in OWN)


def _arguments(words: Words, name: str) -> list[str]:
    """What may follow a command: the commands inside it, or the words of its argument."""
    argument = words[name].argument
    inner = [word.partition(" ")[2] for word in words if word.startswith(f"{name} ")]
    return [*inner, *(argument.values if argument else ())]


def _cases(words: Words, body: Callable[[Option], str]) -> str:
    """What a shell does behind an option that takes a value, one line for each kind of value."""
    grouped: dict[str, list[str]] = {}
    for name, command in words.items():
        for option, found in command.options.items():
            if found.takes != "nothing":
                grouped.setdefault(body(found), []).append(_quoted(f"{name} {option}"))
    return "\n".join(f"    {'|'.join(names)}) {done};;" for done, names in grouped.items())


def _pattern(command: str) -> str:
    """What matches a command in a `case`; of several commands the longer name comes first."""
    word, _, inner = command.partition(" ")
    return f'"{word} {inner}"' if inner else f'"{word} "*'


def _setting(name: str, text: str, brackets: str = "''") -> str:
    """A shell's variable that is set to `text`, or nothing where that is empty."""
    return f" {name}={brackets[0]}{text}{brackets[1]}" if text else ""


def _quoted(text: str) -> str:
    """`text` as one word of a shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def _all_described(lines: dict[str, str]) -> str:
    """Words with what they are about, as zsh describes them."""
    escaped = {word: line.replace(":", "\\:") for word, line in lines.items()}
    return " ".join(_quoted(f"{word}:{line}") for word, line in escaped.items())


@app.command(
    epilog=ending(
        "fofa completion bash > ~/.fofa.bash    # then in ~/.bashrc: source ~/.fofa.bash",
        "fofa completion zsh > ~/.zfunc/_fofa   # a folder of $fpath",
        "fofa completion fish > ~/.config/fish/conf.d/fofa.fish",
    )
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
