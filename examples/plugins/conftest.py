"""The sample plugins are not installed here: a broker would list them in every other test.

Alone, each is tested as its README says: installed, by its own settings.
"""

from __future__ import annotations

import sys
from pathlib import Path

for project in sorted(Path(__file__).parent.glob("*/pyproject.toml")):
    sys.path += [str(project.parent), str(project.parent / "tests")]
