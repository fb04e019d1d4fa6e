"""The guest's end of the network bench. As a server, on TCP and on vsock: nine bytes ask for so many bytes
(`g`), announce so many to take (`t`) or so many messages to echo (`e`). As `dial WHAT COUNT TURNS ROUNDS OURS
BARE` it is the one that asks, in so many connections a round, and prints the seconds of each way, a pair a line,
the first one not counted. As `call PORT` it serves the host on a connection that it opens itself; as `card
ADDRESS GATEWAY PORT`, the first process of a machine, it sets up the machine's card before that.
"""

import fcntl
import socket
import struct
import sys
import threading
import time

MESSAGE = b"m" * 64
PIECE = b"b" * 65536


def give(peer, count):
    while count > 0:
        count -= peer.send(PIECE[:count])


def take(peer, count):
    while count > 0:
        count -= len(peer.recv(min(count, 1 << 18))) or count


def serve(peer):
    if peer.family == socket.AF_INET:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with peer:
        try:
            while len(head := peer.recv(9, socket.MSG_WAITALL)) == 9:
                count = int.from_bytes(head[1:], "big")
                if head[:1] == b"g":
                    give(peer, count)
                elif head[:1] == b"t":
                    take(peer, count)
                    peer.sendall(b".")
                else:
                    for _ in range(count):
                        peer.sendall(peer.recv(64, socket.MSG_WAITALL))
        except OSError:
            pass


def accept(server):
    while True:
        threading.Thread(target=serve, args=server.accept()[:1], daemon=True).start()


def dial(what, count, port):
    channel = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    channel.connect((2, port))
    channel.sendall(what.encode() + count.to_bytes(8, "big"))
    if what == "g":
        take(channel, count)
    elif what == "t":
        give(channel, count)
        channel.recv(1)
    else:
        for _ in range(count):
            channel.sendall(MESSAGE)
            channel.recv(64, socket.MSG_WAITALL)
    channel.close()


def timed(what, count, turns, port):
    began = time.monotonic()
    for _ in range(turns):
        dial(what, count, port)
    return time.monotonic() - began


def call(address, port):
    peer = socket.create_connection((address, int(port)), 60)
    peer.settimeout(None)
    serve(peer)


def set_card(address, gateway):
    """Does for a guest that has nothing else what its init would do."""
    up = 0x1 | 0x40
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:

        def request(number, body):
            fcntl.ioctl(control, number, struct.pack("16s16s", b"eth0", body))

        def inet(text):
            return struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(text))

        request(0x8916, inet(address))  # SIOCSIFADDR
        request(0x891C, inet("255.255.255.0"))  # SIOCSIFNETMASK
        request(0x8922, struct.pack("i12x", 65520))  # SIOCSIFMTU
        request(0x8914, struct.pack("h14x", up))  # SIOCSIFFLAGS
        # A route's fields on 64 bits: padding, three addresses, flags, and what may be zero.
        addresses = [inet("0.0.0.0"), inet(gateway), inet("0.0.0.0")]
        route = struct.pack("8x16s16s16sH62x", *addresses, 0x3)
        fcntl.ioctl(control, 0x890B, route)  # SIOCADDRT


if sys.argv[1] == "call":
    call("10.0.2.2", sys.argv[2])
elif sys.argv[1] == "card":
    set_card(*sys.argv[2:4])
    call(sys.argv[3], sys.argv[4])
elif sys.argv[1] == "dial":
    what = sys.argv[2]
    count, turns, rounds, ours, bare = map(int, sys.argv[3:])
    for turn in range(rounds + 1):
        ports = (ours, bare) if turn % 2 else (bare, ours)
        times = {port: timed(what, count, turns, port) for port in ports}
        if turn:
            print(times[ours], times[bare], flush=True)
else:
    tcp = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128)
    vsock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    vsock.bind((socket.VMADDR_CID_ANY, int(sys.argv[2])))
    vsock.listen(128)
    threading.Thread(target=accept, args=(vsock,), daemon=True).start()
    print("serving", flush=True)
    accept(tcp)
