#!/usr/bin/env python3
"""A link with a delay and nothing else: no loss, no limit to its rate, no reordering.

    unshare --net link.py PID DELAY_MS

One end is `link0` in the network namespace that this program runs in, with the address 192.0.2.2; the other end is `link0`
in that of the process PID, with 192.0.2.1. What enters one end leaves the other so many milliseconds later. It prints
`ready` once packets can pass. It ends when its standard input does, or by SIGTERM, and with it everything else that runs
in its namespace, so that the devices and the namespace are gone, too.

This is not netem, which many kernels are built without: it moves packets between two tun devices. They pass as the
kernel's TCP hands them on, up to 64 KiB at a time, with the size of the segments beside them (virtio_net_hdr). So a core
suffices for several Gbit/s, and the congestion window grows by segments of the usual size.
"""

import collections
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import time

# linux/if_tun.h
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4 = 0x01, 0x02

# A packet of TCP with its virtio_net_hdr.
PACKET_MAX = 65536 + 10
# Packets that wait in the kernel for this program. Its usual 500 could be fewer than arrive meanwhile.
QUEUE_PACKETS = 10000


def open_end(name):
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(end, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)
    return end


def run(*command):
    subprocess.run(command, check=True)


def prepare(pid):
    """Both ends. They are made here; one of them is then given to the other namespace."""
    for name, value in [("tcp_congestion_control", "reno"), ("tcp_no_metrics_save", "1")]:
        with open(f"/proc/sys/net/ipv4/{name}", "w") as file:
            file.write(value)
    theirs = open_end("link1")
    run("ip", "link", "set", "link1", "netns", pid, "name", "link0")
    ours = open_end("link0")
    there = ["nsenter", f"--net=/proc/{pid}/ns/net"]
    for prefix, address in [([], "192.0.2.2/30"), (there, "192.0.2.1/30")]:
        run(*prefix, "ip", "addr", "add", address, "dev", "link0")
        run(*prefix, "ip", "link", "set", "link0", "up", "txqueuelen", str(QUEUE_PACKETS))
    run("ip", "link", "set", "lo", "up")
    return ours, theirs


def relay(ours, theirs, delay):
    """Until the input ends."""
    other = {ours: theirs, theirs: ours}
    waiting = collections.deque()  # when, where, what: in this order, since the delay is the same for all
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select([ours, theirs, sys.stdin], [], [], timeout)
        if sys.stdin in readable and not os.read(sys.stdin.fileno(), 4096):
            return
        for end in readable:
            if end != sys.stdin:
                waiting.extend((time.monotonic() + delay, other[end], packet) for packet in arrived(end))
        while waiting and waiting[0][0] <= time.monotonic():
            _, end, packet = waiting.popleft()
            os.write(end, packet)


def arrived(end):
    while True:
        try:
            yield os.read(end, PACKET_MAX)
        except BlockingIOError:
            return


def end_others():
    """Whoever started the servers here may have been killed."""
    namespace = os.readlink("/proc/self/ns/net")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(pid) != os.getpid() and os.readlink(f"/proc/{pid}/ns/net") == namespace:
                os.kill(int(pid), signal.SIGKILL)
        except OSError:
            pass  # it has ended, or is none of ours


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: link.py PID DELAY_MS")
    pid, delay_ms = sys.argv[1], float(sys.argv[2])
    if os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net"):
        sys.exit("link.py: both ends are in one network namespace")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends, and its input with that
    try:
        ours, theirs = prepare(pid)
        print("ready", flush=True)
        relay(ours, theirs, delay_ms / 1000)
    finally:
        end_others()


if __name__ == "__main__":
    main()
