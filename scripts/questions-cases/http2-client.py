#!/usr/bin/python3
"""What a client of HTTP/2 does with the Python package h2: http2-client.py ADDRESS:PORT windows|pings|resets|streams"""

import contextlib
import socket
import sys
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings


class Client:
    def __init__(self, address, stream_window=65535):
        host, port = address.split(":")
        self.authority = address
        self.socket = socket.create_connection((host, int(port)), timeout=5)
        self.h2 = H2Connection(H2Configuration(client_side=True))
        self.h2.local_settings = Settings(initial_values={SettingCodes.INITIAL_WINDOW_SIZE: stream_window})
        self.h2.initiate_connection()
        self.send()

    def send(self):
        self.socket.sendall(self.h2.data_to_send())

    def get(self, path):
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", self.authority)]
        self.h2.send_headers(stream, fields, end_stream=True)
        return stream

    def listen(self, seconds):
        """Reads and prints what the server says, and opens no window."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            with contextlib.suppress(TimeoutError):
                data = self.socket.recv(65536)
                if not data:
                    return
                for event in self.h2.receive_data(data):
                    print(type(event).__name__, getattr(event, "error_code", ""), flush=True)
                self.send()


def windows(address):
    """One connection with a small window for each stream, and one with a large window for each stream."""
    small = Client(address, stream_window=10000)
    small.get("/bytes/50000")
    small.send()
    large = Client(address, stream_window=1000000)
    large.get("/bytes/200000")
    large.send()
    while True:
        small.listen(1)
        large.listen(1)


def pings(address):
    client = Client(address)
    client.listen(0.1)
    for number in range(200):
        client.h2.ping(number.to_bytes(8, "big"))
    client.send()
    client.listen(2)


def resets(address):
    """Requests that are reset at once, as in CVE-2023-44487."""
    client = Client(address)
    client.listen(0.1)
    for _ in range(150):
        client.h2.reset_stream(client.get("/delay/5000"), ErrorCodes.CANCEL)
        client.send()
    client.get("/plaintext")
    client.send()
    client.listen(60)


def streams(address):
    """More requests than the server allows, before its SETTINGS have come."""
    client = Client(address)
    for _ in range(12):
        client.get("/delay/100")
    client.send()
    client.listen(1)


if __name__ == "__main__":
    with contextlib.suppress(ConnectionError, ProtocolError):
        {"windows": windows, "pings": pings, "resets": resets, "streams": streams}[sys.argv[2]](sys.argv[1])
