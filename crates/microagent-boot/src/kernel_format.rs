//! What kind of file a kernel image is, and which backend can boot it. Pure; nothing in the file is
//! trusted.
//!
//! A wrong kind would only show as a VM that ends before its first message, so it is refused when the
//! kernel is installed.

use microagent_types::{Arch, BackendName};

/// How much of a file's beginning is looked at.
pub const HEAD_BYTES: usize = 1 << 10;

/// The kinds of kernel images that backends boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelFormat {
    /// An uncompressed `vmlinux` for x86-64: a 64-bit little-endian ELF file of machine 62 (System V
    /// ABI, AMD64 supplement).
    ElfAmd64,
    /// A `bzImage` for x86: `HdrS` at 0x202 (Documentation/arch/x86/boot.rst).
    BzImage,
    /// An arm64 `Image`: `ARM\x64` at 56 (Documentation/arch/arm64/booting.rst).
    ImageArm64,
}

impl KernelFormat {
    /// The kind of the file that begins with these bytes; `None` when it is no kernel that is known.
    pub fn of(head: &[u8]) -> Option<Self> {
        const ELF_64_LITTLE: &[u8] = b"\x7fELF\x02\x01";
        const MACHINE_AMD64: [u8; 2] = 62_u16.to_le_bytes();
        let at = |position: usize, expected: &[u8]| {
            head.get(position..position + expected.len()) == Some(expected)
        };
        if at(0, ELF_64_LITTLE) && at(18, &MACHINE_AMD64) {
            Some(Self::ElfAmd64)
        } else if at(56, b"ARM\x64") {
            Some(Self::ImageArm64)
        } else if at(0x202, b"HdrS") {
            Some(Self::BzImage)
        } else {
            None
        }
    }

    /// What a backend boots on an architecture.
    pub const fn needed(backend: BackendName, arch: Arch) -> Self {
        match (backend, arch) {
            (_, Arch::Arm64) => Self::ImageArm64,
            (BackendName::WindowsHyperv, Arch::Amd64) => Self::BzImage,
            (_, Arch::Amd64) => Self::ElfAmd64,
        }
    }

    /// For messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ElfAmd64 => "an uncompressed x86-64 kernel (vmlinux)",
            Self::BzImage => "a compressed x86 kernel (bzImage)",
            Self::ImageArm64 => "an arm64 kernel (Image)",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::KernelFormat;

    fn with(position: usize, bytes: &[u8]) -> Vec<u8> {
        let mut head = vec![0; 1024];
        head[position..position + bytes.len()].copy_from_slice(bytes);
        head
    }

    #[test]
    fn each_kind_is_known_by_its_mark() {
        let mut elf = with(0, b"\x7fELF\x02\x01");
        elf[18] = 62;
        assert_eq!(KernelFormat::of(&elf), Some(KernelFormat::ElfAmd64));
        elf[18] = 183;
        assert_eq!(KernelFormat::of(&elf), None, "an ELF file for arm64");
        assert_eq!(
            KernelFormat::of(&with(0x202, b"HdrS")),
            Some(KernelFormat::BzImage)
        );
        assert_eq!(
            KernelFormat::of(&with(56, b"ARM\x64")),
            Some(KernelFormat::ImageArm64)
        );
    }

    #[test]
    fn a_short_or_empty_file_is_no_kernel() {
        for length in 0..20 {
            assert_eq!(
                KernelFormat::of(&b"\x7fELF\x02\x01\x01"[..length.min(7)]),
                None
            );
        }
    }
}
