"""What reads frames from a connection: uvicorn's, bounded in what no message limit counts."""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

# In how many pieces one message may come. Empty ones count for nothing in its size.
MOST_PIECES = 4096
TOO_LARGE = 1009


class BoundedSocket(WebSocketsSansIOProtocol):
    """Refuses messages in too many pieces, and sends no pongs to who does not read them."""

    def handle_cont(self, event: Frame) -> None:
        if self.close_sent:
            return
        super().handle_cont(event)
        if len(self.frames) > MOST_PIECES:
            self.frames = []
            self.conn.fail(TOO_LARGE, f"a message in more than {MOST_PIECES} pieces")
            self.handle_parser_exception()

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()
