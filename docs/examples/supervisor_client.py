#!/usr/bin/env python3
"""Creates, starts, inspects, halts and deletes a workspace by talking to a supervisor alone.

A supervisor is one executable: one JSON request on its stdin, one JSON response on its stdout. Nothing of
microagent is needed but that program, a kernel, an initramfs and a disk image to boot:

    supervisor_client.py SUPERVISOR STATE_DIR KERNEL INITRAMFS DISK_IMAGE

Fields and answers are those of docs/protocol.md, section 1.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

NAME = "from-python"


class Refused(Exception):
    """The supervisor answered with an error: `kind` is a promise, `message` is for people."""

    def __init__(self, error):
        super().__init__(f"{error['kind']}: {error['message']}")
        self.kind = error["kind"]
        self.hint = error.get("hint")


class Supervisor:
    """One workspace behind one supervisor."""

    def __init__(self, program, state_dir, workspace):
        self.program = program
        self.fixed = {
            "protocolVersion": 1,
            "stateDir": str(state_dir),
            "workspace": workspace,
            "initiator": {"channel": "other", "subject": "supervisor_client.py"},
        }

    def ask(self, command, **fields):
        """One request, one response; a response that is not `ok` is an exception."""
        request = dict(self.fixed, command=command, **fields)
        finished = subprocess.run(
            [self.program], input=json.dumps(request).encode(), stdout=subprocess.PIPE, check=False
        )
        response = json.loads(finished.stdout)
        if not response["ok"]:
            raise Refused(response["error"])
        return response


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def state_directory(path):
    """The caller makes it, for nobody but itself."""
    path = Path(path).absolute()
    for folder in (path, path / "workspaces"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def config(kernel, initramfs, image):
    """The least that a workspace needs: what boots, a disk, no network, no workload."""
    return {
        "kernel": {"path": os.path.abspath(kernel), "sha256": sha256(kernel)},
        "initramfs": {"path": os.path.abspath(initramfs), "sha256": sha256(initramfs)},
        "rootDisk": {
            "format": "raw",
            "sizeBytes": os.path.getsize(image),
            "cloneFrom": os.path.abspath(image),
        },
        "memoryBytes": 256 * 1024 * 1024,
        "cpus": 1,
        "network": {"mode": "isolated"},
    }


def main():
    program, state_dir, kernel, initramfs, image = sys.argv[1:]
    supervisor = Supervisor(program, state_directory(state_dir), NAME)

    prepared = supervisor.ask("prepare", config=config(kernel, initramfs, image))
    print("created", prepared["workspace"]["state"])

    started = supervisor.ask("start", note="started from Python")
    print("started", started["workspace"]["state"], f"in {started['timings']['totalMs']} ms")

    workspace = supervisor.ask("inspect", options={"events": 10})["workspace"]
    print("inspected", workspace["state"], workspace["reason"], workspace["vm"]["bootId"])

    try:
        supervisor.ask("delete")
    except Refused as refused:
        print("refused", refused.kind)

    halted = supervisor.ask("halt", options={"timeoutMs": 60_000})
    print("halted", halted["workspace"]["state"])

    deleted = supervisor.ask("delete")
    print("deleted", deleted["deleted"])


if __name__ == "__main__":
    main()
