#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""site_pages.py TARGET: the pages of the site, out of docs/, README and the READMEs they lead to, with links that hold there."""
import pathlib
import re
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINK = re.compile(r"(\]\()([^)#\s]+)(#[^)\s]*)?(\))")


def place_of(page):
    """Where a file of the tree stands in the site, relative to its root."""
    inside = page.relative_to(ROOT)
    if inside == pathlib.Path("README.md"):
        return pathlib.Path("index.md")
    return inside.relative_to("docs") if inside.parts[0] == "docs" else inside


def main():
    target = pathlib.Path(sys.argv[1])
    shutil.rmtree(target, ignore_errors=True)
    todo, done = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], set()
    while todo:
        page = todo.pop()
        if page in done:
            continue
        done.add(page)
        here = place_of(page)

        def change(match):
            linked = (page.parent / match.group(2)).resolve()
            if "://" in match.group(2) or not linked.is_relative_to(ROOT) or not linked.exists():
                return match.group(0)
            if linked.is_dir():
                linked = linked / "README.md"
                if not linked.exists():
                    return match.group(0)
            todo.append(linked)
            up = "../" * (len(here.parts) - 1)
            return f"{match.group(1)}{up}{place_of(linked)}{match.group(3) or ''}{match.group(4)}"

        out = target / here
        out.parent.mkdir(parents=True, exist_ok=True)
        if page.suffix == ".md":
            out.write_text(LINK.sub(change, page.read_text()))
        else:
            shutil.copy(page, out)


main()
