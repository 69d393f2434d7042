"""Where each of the sources finds its secrets."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from enclave_broker_core.models import Count, Frozen

KIB = 1024


class FilesConfig(Frozen):
    """``path`` is the folder with one file for each secret, of at most ``max_bytes``."""

    path: Path = Path("/run/secrets")
    max_bytes: Count = 64 * KIB


class TomlConfig(Frozen):
    """``path`` is the file, of at most ``max_bytes``."""

    path: Path
    max_bytes: Count = 1024 * KIB


class KeyringConfig(Frozen):
    """``service`` is what the secrets are kept under; ``timeout`` bounds a look-up, in seconds."""

    service: str = Field(default="enclave-broker", min_length=1)
    timeout: float = Field(default=10.0, gt=0)
