//! JSON lines on `run/monitor.sock`.
