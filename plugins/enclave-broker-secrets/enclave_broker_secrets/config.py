"""Where each of the sources finds its secrets."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from enclave_broker_core.models import Count, Frozen

KIB = 1024


class FilesConfig(Frozen):
    """A folder with one file for each secret."""

    path: Path = Path("/run/secrets")
    """The folder."""
    max_bytes: Count = 64 * KIB
    """Bytes of a file."""


class TomlConfig(Frozen):
    """A TOML file that nobody else may read."""

    path: Path
    """The file."""
    max_bytes: Count = 1024 * KIB
    """Bytes of the file."""


class KeyringConfig(Frozen):
    """The keyring of the system, or of the user's desktop."""

    service: str = Field(default="enclave-broker", min_length=1)
    """What the secrets are kept under."""
    timeout: float = Field(default=10.0, gt=0)
    """Seconds that a look-up may take."""
