"""The pages of docs/reference that are made of the code. ``python reference/made_pages.py`` does.

They are kept in the repository, where people read them without building anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import commands_page
import configuration_page
import errors_page

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
HEAD = "<!-- Made by `python reference/made_pages.py`; a test fails when it is out of date. -->\n"
PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands_page.page,
    "configuration.md": configuration_page.page,
    "errors.md": errors_page.page,
}


def made(name: str) -> str:
    """The whole text of a page as the code is now."""
    return HEAD + PAGES[name]()


if __name__ == "__main__":
    for name in PAGES:
        (FOLDER / name).write_text(made(name))
