"""A server over stdio that starts at once: it passes all on to the one in another process."""

import socket
import sys
import threading


def main(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as there:

        def out() -> None:
            while data := there.recv(65536):
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()

        threading.Thread(target=out, daemon=True).start()
        for line in sys.stdin.buffer:
            there.sendall(line)


main(int(sys.argv[1]))
