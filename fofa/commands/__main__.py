"""`python -m fofa.commands`: the program `fofa`, wherever its script may be."""

from fofa.commands import all_programs

if __name__ == "__main__":
    all_programs()
