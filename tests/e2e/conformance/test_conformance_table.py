"""Which of Kubernetes' conformance tests are written here, and where.

    .venv/bin/python tests/e2e/conformance/test_conformance_table.py    # print the tables

``sig_NAME.tsv`` has a test's name (its codename without labels) and ``module::function``, beside this file or in a
folder next to it or above, or ``missing:`` and why. Such a file has all names of its interest group.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
FACTS = HERE.parents[3] / "shared" / "conformance.yaml"
GROUPS = sorted(path.stem for path in HERE.glob("sig_*.tsv"))


def table(group: str) -> dict[str, str]:
    rows = (line.split("\t") for line in (HERE / f"{group}.tsv").read_text().splitlines())
    return {row[0]: row[1] for row in rows}


def functions(module: str) -> set[str]:
    """The test functions of a module of the end-to-end tests."""
    (path,) = HERE.parent.rglob(f"{module}.py")
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def names(group: str) -> set[str]:
    """The group's names in Kubernetes' list, without labels; empty where the facts are not at hand."""
    if not FACTS.exists():
        return set()
    prefix = f"[{group.replace('_', '-')}]"
    found = (str(test["codename"]) for test in yaml.safe_load(FACTS.read_text()))
    mine = (name.removeprefix(prefix) for name in found if name.startswith(prefix))
    return {re.sub(r" ?\[[A-Za-z:]+\]", "", name).strip() for name in mine}


@pytest.mark.parametrize("group", GROUPS)
def test_the_table_names_tests_that_exist(group: str) -> None:
    for name, place in table(group).items():
        module, _, function = place.partition("::")
        assert place.startswith("missing: ") or function in functions(module), f"{name}: {place}"


@pytest.mark.parametrize("group", GROUPS)
def test_the_table_is_complete(group: str) -> None:
    listed = names(group)
    assert not listed or listed == table(group).keys()


if __name__ == "__main__":
    for group in GROUPS:
        rows = table(group)
        for name, place in rows.items():
            print(f"{name}\n    {place}")
        print(f"{group}: {sum('::' in place for place in rows.values())} of {len(rows)}\n")
