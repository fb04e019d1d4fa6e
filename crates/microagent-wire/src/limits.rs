//! Bounds that both ends of a message know. Limits that only one process needs live with it.

/// Largest control frame that a host sends to a guest, in bytes.
pub const CONTROL_BYTES_MAX_FROM_HOST: usize = 4 << 20;
/// Largest control frame that a guest sends to a host, in bytes.
pub const CONTROL_BYTES_MAX_FROM_GUEST: usize = 1 << 20;
/// Largest frame of raw bytes (stdin, stdout, stderr, data, console), in bytes.
pub const RAW_BYTES_MAX: usize = 64 << 10;
/// Largest supervisor request, in bytes.
pub const REQUEST_BYTES_MAX: usize = 16 << 20;
/// Largest line on `run/monitor.sock`, in bytes.
pub const MONITOR_LINE_BYTES_MAX: usize = 4 << 20;
/// Deepest nesting of a JSON document.
pub const JSON_DEPTH_MAX: usize = 32;
/// Largest number in a JSON document, either sign: 2^53 - 1, what every JSON reader holds exactly.
pub const JSON_INTEGER_MAX: u64 = (1 << 53) - 1;
/// Most control messages a second from a guest, over time.
pub const GUEST_MESSAGES_A_SECOND_MAX: u32 = 50;
/// Most control messages at once from a guest.
pub const GUEST_MESSAGES_BURST_MAX: u32 = 200;
/// Most sessions that one guest serves, connections to its own ports not counted.
pub const GUEST_SESSIONS_MAX: u32 = 64;
/// Most connections to its own ports that one guest carries.
pub const GUEST_FORWARDS_MAX: u32 = 512;
/// Bytes of stdin that a guest buffers for a process that does not read.
pub const STDIN_BUFFER_BYTES_MAX: u64 = 1 << 20;
/// Most words of a command.
pub const ARGV_WORDS_MAX: usize = 4096;
/// Most bytes of a command's words together.
pub const ARGV_BYTES_MAX: usize = 1 << 20;
/// Longest text that a guest may put into a record, in bytes.
pub const GUEST_TEXT_BYTES_MAX: usize = 1024;
/// Longest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 1024;
/// Most bytes of one stream kept in an outcome unless told otherwise.
pub const OUTPUT_BYTES_DEFAULT: u64 = 10 << 20;
/// Most bytes of all archives that a guest is given at its first boot.
pub const FIRST_BOOT_BYTES_MAX: u64 = 256 << 20;
/// Most archives that a guest is given at its first boot.
pub const FIRST_BOOT_ARCHIVES_MAX: usize = 256;
