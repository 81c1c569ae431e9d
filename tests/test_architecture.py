"""The packages depend on each other in one direction only, and light imports stay light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fofa", "profilers", "bench")
FLOORS = (
    {"fofa.plain_text"},
    {"fofa.errors", "fofa.listing", "fofa.progress"},
    {"fofa.distributed", "fofa.files", "fofa.hub", "fofa.precision", "fofa.seeds", "fofa.space"},
    {"fofa.families"},
    {"fofa.accuracy", "fofa.data", "fofa.tensor_files", "fofa.validation"},
    {"fofa.latency", "fofa.outcomes", "fofa.presets", "fofa.supernet"},
    {"fofa.recipes", "fofa.runs", "fofa.runtime"},
    {"fofa.recalibration"},
    {"fofa.int8"},
    {"fofa.train", "fofa.evaluate", "fofa.search", "fofa.predictor"},
    {"fofa.export"},
    {"fofa.pipeline", "fofa.verify"},
    {"fofa.api"},
    {"fofa.commands"},
    {"profilers.plugin"},
    {"profilers.registry", "profilers.hardware"},
    {"profilers.measuring"},
    {"profilers.conformance", "profilers.estimates", "profilers.tables"},
    {"profilers.plugins", "profilers.remote"},
    {"profilers.commands"},
    {"bench.tables"},
    {"bench.figures"},
    {"bench.reports"},
    {"bench.gate", "bench.reproduce"},
    {"bench.commands"},
)
"""Every room of the three packages, from the ground up. A room imports only from floors below its
own: there are no circles, and rooms on one floor are siblings that know nothing of each other."""
ACROSS = {("fofa.search", "fofa.predictor.model")}
"""What a room imports of a sibling: a predictor is read like an accuracy table, from its file."""
PROFILERS_MAY_USE = {
    *("fofa.errors", "fofa.files", "fofa.precision", "fofa.progress", "fofa.seeds", "fofa.space"),
    *("fofa.accuracy", "fofa.families", "fofa.latency", "fofa.runtime", "fofa.validation"),
}
PROGRAMS_MAY_USE = {"fofa.commands", "fofa.runs"}
"""The programs of the profilers, beside that: a run says of which networks a table is to be."""
MIN_LINES, MAX_LINES = 40, 500


def modules_of(*packages: str) -> dict[str, Path]:
    """Every module of the packages by its full name."""
    found = {}
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules_of(*PACKAGES)


def imports_of(path: Path) -> set[str]:
    """Modules that a file imports anywhere in it; of a package's own, the module, not the name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            names |= inner or {node.module}
    return names


def room_of(module: str) -> str:
    """The part of a package that a module belongs to: `fofa.search` of `fofa.search.exact`."""
    return ".".join(module.split(".")[:2])


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_rooms_import_from_floors_below_their_own() -> None:
    floors = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for module, path in MODULES.items():
        room = room_of(module)
        if room in PACKAGES:  # a package's own __init__.py: the version, or nothing
            assert not imports_of(path) & MODULES.keys(), path
            continue
        assert room in floors, f"say in FLOORS where {room} stands"
        for name in imports_of(path) & MODULES.keys():
            other = room_of(name)
            if other not in (room, *PACKAGES) and (room, name) not in ACROSS:
                assert floors[other] < floors[room], f"{path} imports {name}"


def test_every_floor_and_exception_is_in_use() -> None:
    rooms = {room_of(module) for module in MODULES} - {*PACKAGES}
    assert {room for floor in FLOORS for room in floor} == rooms
    for room, name in ACROSS:
        assert any(room_of(m) == room and name in imports_of(p) for m, p in MODULES.items()), name


@pytest.mark.parametrize(
    ("package", "above"), [("fofa", {"profilers", "bench"}), ("profilers", {"bench"})]
)
def test_no_package_imports_one_above_it(package: str, above: set[str]) -> None:
    for path in modules_of(package).values():
        tops = {name.partition(".")[0] for name in imports_of(path)}
        assert not tops & {*above, "benchmarks", "tests"}, path


def test_fofa_names_no_package_above_it_in_a_string_and_calls_one_program() -> None:
    """`fofa-search --verify` times through the program `fofa-profile`, as a person would."""
    above = re.compile(r"profilers|bench|.*\b(profilers|bench)\.[a-z_]+.*", re.DOTALL)
    calls = set()
    for path in (ROOT / "fofa").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if id(node) in prose:
                    continue
                assert not above.fullmatch(node.value), f"{path}: {node.value!r}"
                if node.value in ("fofa-profile", "fofa-bench", "fofa-reproduce"):
                    calls.add((path.name, node.value))
    assert calls == {("verify.py", "fofa-profile")}


def test_profilers_use_the_core_of_fofa_only() -> None:
    for module, path in modules_of("profilers").items():
        allowed = PROFILERS_MAY_USE | (PROGRAMS_MAY_USE if ".commands" in module else set())
        for name in imports_of(path):
            if name.startswith("fofa."):
                assert room_of(name) in allowed, f"{path} imports {name}"


def test_programs_are_used_by_programs_only() -> None:
    for module, path in MODULES.items():
        for name in imports_of(path) & MODULES.keys():
            if room_of(name).endswith(".commands"):
                assert room_of(module).endswith(".commands"), f"{path} imports {name}"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("fofa.space", {"torch", "pandas", "onnxruntime", "pydantic"}),
        ("fofa.latency", {"torch", "pandas", "onnxruntime", "matplotlib"}),
        ("fofa.runtime.graph", {"torch", "onnxruntime", "pydantic"}),
        ("profilers.plugin", {"torch", "onnxruntime", "tensorrt"}),
        ("profilers.commands.profile", {"torch", "tensorrt_rtx_bindings", "matplotlib"}),
        ("fofa.commands.search", {"torch", "matplotlib", "onnxruntime"}),
        ("bench.commands.bench", {"torch", "onnxruntime"}),
        ("bench.reproduce.carry_out", {"torch", "onnxruntime"}),
    ],
)
def test_heavy_libraries_load_only_where_used(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not heavy & set(done.stdout.split())


def test_no_file_grows_past_its_subject() -> None:
    for path in modules_of(*PACKAGES, "benchmarks").values():
        assert lines_of(path) <= MAX_LINES, path


def test_no_small_file_serves_one_other_alone() -> None:
    """What is short and used once stands with its user; programs may be short."""
    users = dict.fromkeys(MODULES, 0)
    for path in MODULES.values():
        for name in imports_of(path) & MODULES.keys():
            users[name] += 1
    for module, path in MODULES.items():
        program = '__name__ == "__main__"' in path.read_text(encoding="utf-8")
        if lines_of(path) < MIN_LINES and path.name not in ("__init__.py", "__main__.py"):
            assert users[module] > 1 or program, f"{path} has {lines_of(path)} lines and one user"


def test_how_large_the_packages_are() -> None:
    """Told with `pytest -s` or -rP, never a limit."""
    for package in PACKAGES:
        found = modules_of(package)
        print(f"{package}: {len(found)} modules, {sum(map(lines_of, found.values()))} lines")


def test_promises_name_tests_that_are_there() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z0-9_/]*test_[a-z0-9_]+\.py)`", text))
    assert named
    assert not [name for name in named if not (ROOT / "tests" / name).is_file()]
