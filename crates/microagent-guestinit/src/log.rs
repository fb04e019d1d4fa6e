//! Lines for the console, which the host keeps as the workspace's serial log.
//!
//! Errors writing it are nobody's to hear. It must not be used on a path that is taken often: on an
//! emulated serial port every byte costs an exit of the VM.

/// Writes one line.
pub(crate) fn line(text: &str) {
    let bytes = ["microagent: ", text, "\n"].concat();
    let _ = rustix::io::write(rustix::stdio::stderr(), bytes.as_bytes());
}
