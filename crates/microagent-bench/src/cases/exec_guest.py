"""The guest's end of the session bench, over bare vsock. Nine bytes ask: `t` for so many starts of `true`,
answered with the nanoseconds that they took; `o` for so many bytes out; `i` announces so many bytes in,
answered with one byte; `x` and `c` are a tar into and out of the folder of that number.
"""

import os
import socket
import subprocess
import sys
import threading
import time

PIECE = b"b" * 65536


def spawn():
    began = time.monotonic_ns()
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    return time.monotonic_ns() - began


def tar(words, **streams):
    subprocess.run(["tar", *words], check=True, **streams)


def serve(peer):
    buffer = bytearray(262144)
    with peer:
        try:
            while len(head := peer.recv(9, socket.MSG_WAITALL)) == 9:
                what, count = head[:1], int.from_bytes(head[1:], "big")
                if what == b"t":
                    took = sum(spawn() for _ in range(count))
                    peer.sendall(took.to_bytes(8, "big"))
                elif what == b"o":
                    while count > 0:
                        count -= peer.send(PIECE[:count])
                elif what == b"i":
                    while count > 0 and (read := peer.recv_into(buffer)):
                        count -= read
                    peer.sendall(b".")
                elif what == b"x":
                    folder = f"/srv/{count}"
                    os.mkdir(folder)
                    tar(["-C", folder, "-xf", "-"], stdin=peer.fileno())
                    peer.sendall(b".")
                elif what == b"c":
                    tar(["-C", f"/srv/{count}", "-cf", "-", "."], stdout=peer.fileno())
                    return
        except OSError:
            pass


server = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
server.bind((socket.VMADDR_CID_ANY, int(sys.argv[1])))
server.listen(128)
print("serving", flush=True)
while True:
    threading.Thread(target=serve, args=server.accept()[:1], daemon=True).start()
