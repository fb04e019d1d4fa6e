#!/bin/sh
# Creates, starts, inspects, halts and deletes a workspace by talking to a supervisor alone, with `jq` and
# `sha256sum` and nothing else:
#
#     supervisor_client.sh SUPERVISOR STATE_DIR KERNEL INITRAMFS DISK_IMAGE
#
# A supervisor is one executable: one JSON request on its stdin, one JSON response on its stdout. Paths are
# absolute. Fields and answers are those of docs/protocol.md, section 1.
set -eu

supervisor=$1 state_dir=$2 kernel=$3 initramfs=$4 image=$5

# The caller makes the state directory, for nobody but itself.
mkdir -p -m 700 "$state_dir" "$state_dir/workspaces"

# ask COMMAND [FIELDS]: one request, one response on stdout. An error is a response too, so what was hoped for is
# looked for in it: `jq -e` fails when it is not there.
ask() {
    jq -n --arg command "$1" --arg stateDir "$state_dir" --argjson fields "${2:-null}" '{
        protocolVersion: 1, command: $command, stateDir: $stateDir, workspace: "from-shell",
        initiator: {channel: "other", subject: "supervisor_client.sh"}
    } + $fields' | "$supervisor"
}

sum_of() { sha256sum "$1" | cut -d' ' -f1; }

config=$(jq -n --arg kernel "$kernel" --arg kernelSum "$(sum_of "$kernel")" \
    --arg initramfs "$initramfs" --arg initramfsSum "$(sum_of "$initramfs")" \
    --arg image "$image" --argjson size "$(stat -c %s "$image")" '{config: {
        kernel: {path: $kernel, sha256: $kernelSum},
        initramfs: {path: $initramfs, sha256: $initramfsSum},
        rootDisk: {format: "raw", sizeBytes: $size, cloneFrom: $image},
        memoryBytes: 268435456, cpus: 1, network: {mode: "isolated"}}}')

ask prepare "$config" | jq -er '"created \(.workspace.state)"'
ask start '{"note": "started from a shell"}' | jq -er '"started \(.workspace.state)"'
ask inspect | jq -er '"inspected \(.workspace.state) \(.workspace.reason)"'
# A refusal is a response as well: `kind` is a promise, `message` is for people.
ask delete | jq -er '"refused \(.error.kind)"'
ask halt '{"options": {"timeoutMs": 60000}}' | jq -er '"halted \(.workspace.state)"'
ask delete | jq -er '"deleted \(.deleted)"'
