"""Links between pages, those outside the site too, and the site's table of contents."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.members import ROOT

SITE = ROOT / "docs"
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "packages/*/*.md", "tools/*/*.md", "examples/*/*.md")
    for page in ROOT.glob(pattern)
)


def prose(page: Path) -> str:
    """The text of a page without blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What a link may name on a page: its headings, in lower case, with hyphens for blanks."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue  # an address elsewhere
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.relative_to(ROOT)}: {link}: no such file"
        if anchor:
            assert anchor in anchors(target), f"{page.relative_to(ROOT)}: {link}: no such heading"


def test_every_page_of_the_site_is_in_its_table_of_contents():
    def listed(entries):
        for entry in entries:
            for place in entry.values():
                yield from listed(place) if isinstance(place, list) else [place]

    nav = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    assert sorted(listed(nav)) == sorted(str(page.relative_to(SITE)) for page in SITE.rglob("*.md"))
