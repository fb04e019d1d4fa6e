//! The host's boot, by the counter in the page that the kernel shares with every process.

/// Where the page lies in every process, and the counter in it.
const SHARED_PAGE: usize = 0x7ffe_0000;
const BOOT_ID_OFFSET: usize = 0x2c4;

/// Different at every boot of the host.
pub(crate) fn id() -> u32 {
    let counter: *const u32 = std::ptr::with_exposed_provenance(SHARED_PAGE + BOOT_ID_OFFSET);
    // SAFETY: the page is mapped for reading at this address in every process, the place is aligned, and
    // the kernel writes it before any process runs.
    unsafe { counter.read_volatile() }
}
