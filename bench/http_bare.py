"""The floor of the HTTP rows: uvicorn with an application that does nothing but answer.

``python bench/http_bare.py ANSWERS``: a JSON object of path → the pieces that it is answered
with. One piece is a JSON answer with a length, several are as many writes of NDJSON. The body
of the request is read first. Where it listens comes out as JSON.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence
from typing import Any

import uvicorn

Answers = dict[str, Sequence[str]]


def application(answers: Answers) -> Any:
    pieces = {path: [piece.encode() for piece in answer] for path, answer in answers.items()}
    lengths = {path: b"%d" % len(answer[0]) for path, answer in pieces.items()}

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        path = scope["path"]
        *more, last = pieces[path]
        if not more:
            headers = [(b"content-type", b"application/json"), (b"content-length", lengths[path])]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": last})
            return
        headers = [(b"content-type", b"application/x-ndjson")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in (*more, last):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return answer


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    # As the broker's server is run, but for what that adds to the reading of HTTP.
    config = uvicorn.Config(
        application(json.loads(sys.argv[1])),
        loop="uvloop",
        http="httptools",
        interface="asgi3",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2048,
    )
    host, port = listening.getsockname()
    print(json.dumps({"url": f"http://{host}:{port}"}), flush=True)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
