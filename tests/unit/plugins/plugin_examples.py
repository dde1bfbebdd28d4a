"""The worked examples of docs/plugins.md."""

from __future__ import annotations

from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "plugins.md"


def example(name: str) -> str:
    """The worked example of the document that begins with this file name."""
    for block in DOCUMENT.read_text().split("```python\n")[1:]:
        code = block.split("```")[0]
        if code.startswith(f"# {name}\n"):
            return code
    raise AssertionError(f"{DOCUMENT} has no example {name}")
