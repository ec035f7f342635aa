"""The page of promises names tests that exist, and each promise has one."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "promises.md"
ROWS = re.findall(r"^\| ([A-F]\d+) \|(.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
LINK_OR_TEST = re.compile(r"\]\((?P<file>[^)]+)\)|`(?P<test>test_\w+)`")


@cache
def functions_of(file: Path) -> set[str]:
    """Those that can fail: none that is skipped or may fail whatever happens."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.parse(file.read_text()).body if isinstance(node, functions)]
    return {node.name for node in nodes if not any(is_excuse(mark) for mark in node.decorator_list)}


def is_excuse(mark: ast.expr) -> bool:
    return re.search(r"\bmark\.(xfail|skip)\b", ast.unparse(mark)) is not None


@pytest.mark.parametrize(("promise", "row"), ROWS, ids=[promise for promise, _ in ROWS])
def test_a_promise_names_tests_that_exist(promise: str, row: str) -> None:
    file, named = None, 0
    for found in LINK_OR_TEST.finditer(row):
        if found["file"]:
            file = PAGE.parent / found["file"]
        else:
            assert file is not None, f"{promise}: no file before {found['test']}"
            assert found["test"] in functions_of(file), (
                f"{promise}: {found['test']} is not in {file.name}, or is excused"
            )
            named += 1
    assert named, f"{promise} has no test"


def test_each_promise_stands_there_once() -> None:
    names = [promise for promise, _ in ROWS]
    assert sorted(set(names)) == sorted(names)
    assert {name[0] for name in names} == set("ABCDEF")
