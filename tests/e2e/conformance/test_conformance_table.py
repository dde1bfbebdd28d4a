"""Which of Kubernetes' sig-api-machinery conformance tests are written here, and where.

    .venv/bin/python tests/e2e/conformance/test_conformance_table.py    # print the table

``sig_api_machinery.tsv`` has a test's name (its codename without labels) and ``module::function``, beside this file
or one folder above it, or ``missing:`` and why.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import yaml

HERE = Path(__file__).parent
FACTS = HERE.parents[3] / "shared" / "conformance.yaml"


def table() -> dict[str, str]:
    rows = (line.split("\t") for line in (HERE / "sig_api_machinery.tsv").read_text().splitlines())
    return {row[0]: row[1] for row in rows}


def functions(module: str) -> set[str]:
    """The test functions of a module beside this one or above it."""
    path = next(folder / f"{module}.py" for folder in (HERE, HERE.parent) if (folder / f"{module}.py").exists())
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def names() -> set[str]:
    """The names in Kubernetes' list, without labels; empty where the facts are not at hand."""
    if not FACTS.exists():
        return set()
    found = (str(test["codename"]) for test in yaml.safe_load(FACTS.read_text()))
    mine = (name.removeprefix("[sig-api-machinery]") for name in found if name.startswith("[sig-api-machinery]"))
    return {re.sub(r" ?\[[A-Za-z:]+\]", "", name).strip() for name in mine}


def test_the_table_names_tests_that_exist() -> None:
    for name, place in table().items():
        module, _, function = place.partition("::")
        assert place.startswith("missing: ") or function in functions(module), f"{name}: {place}"


def test_the_table_is_complete() -> None:
    listed = names()
    assert not listed or listed == table().keys()


if __name__ == "__main__":
    rows = table()
    for name, place in rows.items():
        print(f"{name}\n    {place}")
    print(f"{sum('::' in place for place in rows.values())} of {len(rows)}")
