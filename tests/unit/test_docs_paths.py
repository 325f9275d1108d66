"""Files that the documentation names."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.paths import DOCS, ROOT

PATH = re.compile(r"`((?:agents|bench|console|engine|graphs|tests)/[\w/.-]+\.\w+)`")
LINK = re.compile(r"\]\(((?!https?:|#)[^)#]+)(?:#([\w-]+))?\)|\]\(#([\w-]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def test_every_file_that_the_documentation_names_exists() -> None:
    pages = [*DOCS.rglob("*.md"), ROOT / "README.md"]
    named = {(page.name, path) for page in pages for path in PATH.findall(page.read_text())}
    assert len(named) > 100
    assert [one for one in sorted(named) if not (ROOT / one[1]).exists()] == []


def test_every_link_inside_the_documentation_leads_somewhere() -> None:
    broken = []
    for page in [*DOCS.rglob("*.md"), ROOT / "README.md"]:
        for path, anchor, own in LINK.findall(page.read_text(encoding="utf-8")):
            target = page.parent / path if path else page
            if not target.exists():
                broken.append(f"{page.name}: {path}")
            elif (
                (anchor or own)
                and target.suffix == ".md"
                and (anchor or own) not in anchors(target)
            ):
                broken.append(f"{page.name}: {path}#{anchor or own}")
    assert broken == []
