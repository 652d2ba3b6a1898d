"""A TCP relay on loopback that records connections and request lines."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading

_REQUEST_LINE = re.compile(rb"POST (\S+) HTTP/1\.[01]\r\n")


class Relay:
    """Forwards bytes to `target` from any number of connections."""

    def __init__(self, target: tuple[str, int]):
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._connections = 0
        self._sent = bytearray()
        self._received = bytearray()
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    self._connections += 1
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self._target) as server:
            other = {client: server, server: client}
            memory = {client: self._sent, server: self._received}
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    with self._lock:
                        memory[ready] += data
                    other[ready].sendall(data)

    @property
    def connections(self) -> int:
        """The number of connections so far."""
        with self._lock:
            return self._connections

    @property
    def targets(self) -> list[str]:
        """The targets of the requests, verbatim."""
        with self._lock:
            return [target.decode() for target in _REQUEST_LINE.findall(bytes(self._sent))]

    @property
    def continued(self) -> bool:
        """Whether a request expected a 100 and got it."""
        with self._lock:
            expected = b"\r\nexpect: 100-continue\r\n" in bytes(self._sent).lower()
            return expected and b"HTTP/1.1 100 " in bytes(self._received)

    def close(self) -> None:
        """Accepts no more connections."""
        self._listener.close()
