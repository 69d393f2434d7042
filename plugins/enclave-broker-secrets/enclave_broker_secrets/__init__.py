"""Secrets from mounted files, from a TOML file and from the system's keyring."""

from collections.abc import Iterable

from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .config import FilesConfig, KeyringConfig, TomlConfig
from .mounted_files import open_files
from .system_keyring import open_keyring
from .toml_file import open_toml


@hookimpl
def enclave_secret_sources() -> Iterable[Component]:
    return [
        Component("files", open_files, FilesConfig),
        Component("toml", open_toml, TomlConfig),
        Component("keyring", open_keyring, KeyringConfig),
    ]
