//! The `qemu` backend and its executable.
