//! Every message that crosses a process or VM border; framing; fault shape; exit codes.
