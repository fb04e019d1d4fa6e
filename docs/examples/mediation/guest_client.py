#!/usr/bin/env python3
"""Asks the control plane from inside a workspace, over the mediation channel: a request a line, an answer
a line.

    guest_client.py echo hello
    guest_client.py whoami

The host is always vsock CID 2; the port is the one that was declared, which every process of the guest
finds in MICROAGENT_MEDIATION_PORT. A connection that closes without an answer means that nobody is there:
try again later, there is no other way out.
"""

import os
import socket
import sys

HOST_CID = 2


def ask(request, timeout=30):
    port = int(os.environ["MICROAGENT_MEDIATION_PORT"])
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as channel:
        channel.settimeout(timeout)
        channel.connect((HOST_CID, port))
        channel.sendall(request.encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            piece = channel.recv(4096)
            if not piece:
                raise ConnectionError("the control plane is not there")
            answer += piece
    return answer.decode().strip()


if __name__ == "__main__":
    try:
        answer = ask(" ".join(sys.argv[1:]))
    except OSError as error:
        sys.exit(f"guest_client: {error}")
    print(answer)
    sys.exit(0 if answer.startswith("ok") else 2)
