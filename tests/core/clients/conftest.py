import socket
import threading

import pytest


@pytest.fixture
def raw_server():
    """A function that makes a server, which answers one request with given bytes, and returns its base URL."""
    threads = []

    def serve(answer):
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(30)

        def answer_once():
            with listener, listener.accept()[0] as connection:
                connection.settimeout(30)
                read = b""
                while b"\r\n\r\n" not in read:
                    read += connection.recv(65_536)
                head, _, body = read.partition(b"\r\n\r\n")
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
                left = int(fields[b"content-length"]) - len(body)
                while left > 0:
                    left -= len(connection.recv(65_536))
                connection.sendall(answer)

        threads.append(threading.Thread(target=answer_once))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"

    yield serve
    for thread in threads:
        thread.join(30)
