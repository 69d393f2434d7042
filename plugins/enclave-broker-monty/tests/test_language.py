"""Every row of the README's table of the language is run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from enclave_broker_core.errors import RunError

README = Path(__file__).parents[1] / "README.md"
ROW = re.compile(r"^\| `(?P<code>.+)` \| (?P<works>yes|no) \|", re.MULTILINE)
ROWS = [(row["code"], row["works"]) for row in ROW.finditer(README.read_text())]

LACKS = "does not yet support|No module named|is not defined|cannot import|no attribute"
REFUSES = "Permission denied|has no len"


def test_the_table_is_found() -> None:
    assert len(ROWS) > 70
    assert {works for _, works in ROWS} == {"yes", "no"}


@pytest.mark.anyio
@pytest.mark.parametrize(("code", "works"), ROWS)
async def test_the_table_of_the_language_is_true(monty, host, code, works) -> None:
    source = code.replace("\\n", "\n")
    async with monty(workers=1) as runtime, runtime.session(host) as session:
        if works == "yes":
            await session.run(source)
        else:
            with pytest.raises(RunError, match=f"{LACKS}|{REFUSES}"):
                await session.run(source)
