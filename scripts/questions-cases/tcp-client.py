#!/usr/bin/python3
"""What a client does with a socket of its own: tcp-client.py ADDRESS:PORT reset|segments|crowd N|idle|late|websocket|websocket-silent"""

import os
import socket
import struct
import sys
import time

GET = "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connect(address):
    host, port = address.split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def reset(address):
    """Asks, and gives up with RST and not with FIN."""
    client = connect(address)
    client.sendall(GET.format("/delay/1000").encode())
    time.sleep(0.2)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def segments(address):
    """Sends heads and contents with a `send` each, and leaves TCP_NODELAY off."""
    client = connect(address)
    for _ in range(20):
        began = time.monotonic()
        client.sendall(b"POST /users HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n")
        client.sendall(b"{")
        client.sendall(b"}")
        answer = b""
        while not answer.endswith(b"}"):
            answer += client.recv(65536)
    print(f"the last one took {(time.monotonic() - began) * 1000:.0f} ms")


def crowd(address, number):
    """Many connections at once, which stay until this process is ended."""
    host, port = address.split(":")
    clients = []
    for _ in range(int(number)):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex((host, int(port)))
        clients.append(client)
    time.sleep(600)


def open_websocket(address):
    client = connect(address)
    client.sendall(
        b"GET /ws/echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += client.recv(65536)
    return client


def websocket(address):
    """Opens a WebSocket and closes it with a code of its own."""
    client = open_websocket(address)
    close, mask = struct.pack("!H", 4000) + b"moving on", os.urandom(4)
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(close))
    client.sendall(bytes([0x88, 0x80 | len(close)]) + mask + masked)
    while client.recv(65536):
        pass


def websocket_silent(address):
    """Opens a WebSocket, and answers nothing."""
    client = open_websocket(address)
    while client.recv(65536):
        pass


def late(address):
    """A request, silence until the server ends the connection, and one request more, as if both had crossed."""
    client = connect(address)
    client.sendall(GET.format("/plaintext").encode())
    while client.recv(65536):
        pass
    client.sendall(GET.format("/late").encode())
    time.sleep(2)


def idle(address):
    """A request, and then silence until the server ends the connection."""
    client = connect(address)
    client.sendall(GET.format("/plaintext").encode())
    while client.recv(65536):
        pass


if __name__ == "__main__":
    address, name, *arguments = sys.argv[1:]
    known = {"reset": reset, "segments": segments, "crowd": crowd, "idle": idle, "late": late}
    known |= {"websocket": websocket, "websocket-silent": websocket_silent}
    known[name](address, *arguments)
