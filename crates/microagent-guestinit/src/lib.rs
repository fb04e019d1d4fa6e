//! PID 1 and the vsock services; static, small, no async runtime.
