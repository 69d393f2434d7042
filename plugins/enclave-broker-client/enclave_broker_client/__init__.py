"""The Python client of an Enclave Broker server."""

from .client import Client
from .errors import (
    ClientError,
    ConflictError,
    ConnectionLostError,
    ForbiddenError,
    InvalidRequestError,
    MissingEventsError,
    ProtocolError,
    ServerError,
    UnauthenticatedError,
    UnavailableError,
)
from .models import SessionInfo, Ticket, ToolInfo
from .session import ClientSession
from .settings import ClientSettings
from .streams import EventStream, SyncEventStream
from .sync_client import SyncClient
from .sync_session import SyncClientSession
from .toolbox import LocalTool

__all__ = [
    "Client",
    "ClientError",
    "ClientSession",
    "ClientSettings",
    "ConflictError",
    "ConnectionLostError",
    "EventStream",
    "ForbiddenError",
    "InvalidRequestError",
    "LocalTool",
    "MissingEventsError",
    "ProtocolError",
    "ServerError",
    "SessionInfo",
    "SyncClient",
    "SyncClientSession",
    "SyncEventStream",
    "Ticket",
    "ToolInfo",
    "UnauthenticatedError",
    "UnavailableError",
]
