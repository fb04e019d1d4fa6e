//! What is asked of the host, in plain types, so that a test can play it on every system.

/// The calls.
pub trait Calls {
    /// Which of the system's libraries is missing; none when all are there.
    fn missing_library(&self) -> Option<&'static str>;

    /// Whether this process has the rights of an administrator; none when it can't be told.
    fn is_administrator(&self) -> Option<bool>;

    /// Bytes of memory of the host.
    fn memory_bytes(&self) -> u64;

    /// Whether this is a Windows host at all.
    fn is_windows(&self) -> bool;
}
