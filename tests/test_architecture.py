"""The packages depend on each other in one direction only, and light imports stay light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {"fofa": {"profilers", "bench"}, "profilers": {"bench"}, "bench": set[str]()}
PROFILERS_MAY_USE = {
    "fofa",
    "fofa.space",
    "fofa.latency",
    "fofa.accuracy",
    "fofa.errors",
    "fofa.files",
    "fofa.commands",
    "fofa.runtime",
    "fofa.progress",
    "fofa.precision",
}


def imports_of(path: Path) -> set[str]:
    """Modules that a file imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_package_imports_one_above_it(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        tops = {name.partition(".")[0] for name in imports_of(path)}
        assert not tops & FORBIDDEN[package], f"{path} imports {tops & FORBIDDEN[package]}"


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
    for path in (ROOT / "profilers").rglob("*.py"):
        for name in imports_of(path):
            if name.partition(".")[0] == "fofa":
                short = ".".join(name.split(".")[:2])
                assert short in PROFILERS_MAY_USE, f"{path} imports {name}"


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
    for package in FORBIDDEN:
        for path in (ROOT / package).rglob("*.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 500, path
