//! An installation whose guests boot and then say nothing: the product's own programs, and an initramfs
//! whose first process waits for ever, or dies at once, which no kernel survives.
//!
//! The process is a program of a dozen machine words, and the archive is written here, so that nothing of
//! the product's is asked to be silent.

use crate::framework::world::World;
use anyhow::{Result, ensure};
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// Where the program is loaded.
const ADDRESS: u64 = 0x40_0000;
/// An ELF header and one program header.
const HEADERS_BYTES: u64 = 64 + 56;
const EXECUTABLE: u32 = 0o100_755;

/// What the first process does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Does {
    Wait,
    Die,
}

/// A prefix like the one under test, with that initramfs.
pub(crate) fn prefix(world: &World, does: Does) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    for part in ["bin", "libexec"] {
        std::fs::create_dir(folder.path().join(part))?;
        for entry in std::fs::read_dir(world.prefix().join(part))? {
            let entry = entry?;
            let place = folder.path().join(part).join(entry.file_name());
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("microagent-guestinit") {
                std::fs::write(&place, archive(&program(does)?))?;
            } else if entry.file_type()?.is_file() {
                // The programs look for the others beside themselves, so they must lie here.
                std::fs::copy(entry.path(), &place)?;
            } else {
                symlink(entry.path(), &place)?;
            }
        }
    }
    link_rest(world.prefix(), folder.path())?;
    Ok(folder)
}

fn link_rest(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if !place.exists() {
            symlink(entry.path(), place)?;
        }
    }
    Ok(())
}

/// `pause()` in a loop, or an instruction that there is not.
fn program(does: Does) -> Result<Vec<u8>> {
    let (machine, code): (u16, &[u8]) = match (std::env::consts::ARCH, does) {
        // mov eax, 34; syscall; jmp back
        ("x86_64", Does::Wait) => (62, &[0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7]),
        ("x86_64", Does::Die) => (62, &[0x0f, 0x0b]),
        // wfe would do for a kernel; a process branches to itself
        ("aarch64", Does::Wait) => (183, &[0x00, 0x00, 0x00, 0x14]),
        ("aarch64", Does::Die) => (183, &[0x00, 0x00, 0x00, 0x00]),
        (other, _) => anyhow::bail!("no machine words for {other}"),
    };
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend(2u16.to_le_bytes());
    elf.extend(machine.to_le_bytes());
    elf.extend(1u32.to_le_bytes());
    elf.extend((ADDRESS + HEADERS_BYTES).to_le_bytes());
    elf.extend(64u64.to_le_bytes());
    elf.extend(0u64.to_le_bytes());
    elf.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    let length = HEADERS_BYTES + u64::try_from(code.len())?;
    // One segment to load: readable and executable.
    elf.extend(1u32.to_le_bytes());
    elf.extend(5u32.to_le_bytes());
    for word in [0, ADDRESS, ADDRESS, length, length, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    ensure!(
        elf.len() as u64 == HEADERS_BYTES,
        "the headers have their size"
    );
    elf.extend(code);
    Ok(elf)
}

/// A cpio archive in the `newc` form with `/init` in it.
fn archive(init: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    entry(&mut archive, "init", EXECUTABLE, init);
    entry(&mut archive, "TRAILER!!!", 0, &[]);
    archive
}

fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    let fields = [
        1,
        mode,
        0,
        0,
        1,
        0,
        u32::try_from(content.len()).unwrap_or(u32::MAX),
        0,
        0,
        0,
        0,
        u32::try_from(name.len() + 1).unwrap_or(u32::MAX),
        0,
    ];
    archive.extend(b"070701");
    for field in fields {
        archive.extend(format!("{field:08x}").bytes());
    }
    archive.extend(name.bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(4), 0);
}
