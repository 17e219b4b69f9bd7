"""An HTTP proxy on the loopback, which passes everything on to one port."""

import asyncio

from mesa_llm.concurrency.loop_thread import LoopThread


class LoopbackProxy:
    """Runs while its `with` block does; `heads` are the request lines and headers that it saw."""

    def __init__(self, target_url, *, refusal=None):
        self.heads = []
        self.port = 0
        self._target = int(target_url.split(":")[2].split("/")[0])
        self._refusal = refusal

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        self._thread = LoopThread("loopback-proxy")
        self._thread.submit(self._start()).result()
        return self

    def __exit__(self, *exc_info):
        self._thread.loop.call_soon_threadsafe(self._server.close)
        self._thread.close()

    async def _start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        writers = [writer]
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            if self._refusal is not None:
                writer.write(f"HTTP/1.1 {self._refusal}\r\nContent-Length: 0\r\n\r\n".encode())
                await reader.read()  # until the client has gone
                return
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
            writers.append(up_writer)
            if head.startswith("CONNECT"):
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                method, url, rest = head.split(" ", 2)
                up_writer.write(f"{method} /{url.split('/', 3)[3]} {rest}".encode())
            await asyncio.wait(
                [asyncio.create_task(_pipe(reader, up_writer)), asyncio.create_task(_pipe(up_reader, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for opened in writers:
                opened.transport.abort()


async def _pipe(reader, writer):
    while piece := await reader.read(65_536):
        writer.write(piece)
