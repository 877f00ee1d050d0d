"""A connection between client and server that breaks on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType


class Proxy:
    """Forwards connections to a server, and cuts or silences them."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._silenced: set[asyncio.StreamWriter] = set()
        self.connections = 0
        self.cut_after: Callable[[], int] | None = None
        """How many bytes from the server a new connection lives for; `None`: no end."""
        self.deaf = False
        """Whether new connections bring nothing back but the server's greeting."""
        self.muted = False
        """Whether nothing comes back any more, while what is sent still arrives."""

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Breaks every connection that there is."""
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.transport.abort()

    def silence(self) -> None:
        """Lets nothing through any more on the connections that there are, and tells nobody."""
        self._silenced.update(self._writers)

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers += [writer, there_writer]
        for one, other, limit in (
            (reader, there_writer, None),
            (there_reader, writer, self.cut_after() if self.cut_after else None),
        ):
            task = asyncio.create_task(self._forward(one, other, limit, (writer, there_writer)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limit: int | None,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        deaf = self.deaf and writer is both[0]
        try:
            while data := await reader.read(1024):
                if writer in self._silenced or (self.muted and writer is both[0]):
                    continue
                if deaf:
                    self._silenced.add(writer)
                if limit is not None:
                    data, limit = data[:limit], limit - len(data)
                writer.write(data)
                await writer.drain()
                if limit is not None:
                    # gRPC drops what it has not read yet when its connection breaks: with some
                    # time to read, connections get some of the way.
                    await asyncio.sleep(0.002)
                    if limit <= 0:
                        break
        except OSError:
            pass
        finally:
            if writer not in self._silenced:
                for end in both:
                    # What was written is sent, then the connection ends.
                    end.close()
