"""The guest's end of the network bench. As a server, on TCP and on vsock: nine bytes ask for so many bytes
(`b`) or announce so many messages to echo (`r`). As `dial WHAT COUNT ROUNDS OURS BARE` it is the one that asks,
and prints the seconds of each way, a pair a line, the first one not counted.
"""

import socket
import sys
import threading
import time

MESSAGE = b"m" * 64
PIECE = b"b" * 65536


def serve(peer):
    with peer:
        try:
            while len(head := peer.recv(9, socket.MSG_WAITALL)) == 9:
                count = int.from_bytes(head[1:], "big")
                if head[:1] == b"b":
                    while count > 0:
                        piece = PIECE[:count]
                        peer.sendall(piece)
                        count -= len(piece)
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
    began = time.monotonic()
    channel.sendall(what.encode() + count.to_bytes(8, "big"))
    if what == "b":
        left = count
        while left > 0:
            left -= channel.send(PIECE[:left])
        channel.recv(1)
    else:
        for _ in range(count):
            channel.sendall(MESSAGE)
            channel.recv(64, socket.MSG_WAITALL)
    took = time.monotonic() - began
    channel.close()
    return took


if sys.argv[1] == "dial":
    what = sys.argv[2]
    count, rounds, ours, bare = map(int, sys.argv[3:])
    for turn in range(rounds + 1):
        ports = (ours, bare) if turn % 2 else (bare, ours)
        times = {port: dial(what, count, port) for port in ports}
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
