//! The engine alone: the same QEMU, with the same machine, kernel and initramfs as the product's, and a
//! first process that switches off at once. What the product adds is the difference.
//!
//! The machine's words are read from a running product, so the two can't drift apart. The first
//! process is a few instructions in an initramfs of its own behind the product's: the kernel unpacks
//! both, one after the other, and enters the one that its command line names.

use crate::bench::{Bench, debian_source, timed};
use anyhow::{Context as _, Result, bail};
use microagent_test::cli::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Words that make the machine, with one value each; devices are left out.
const MACHINE_WORDS: &[&str] = &["-M", "-machine", "-accel", "-cpu", "-smp", "-m"];
/// Words without a value.
const FLAGS: &[&str] = &["-nodefaults", "-no-user-config", "-no-reboot"];
pub(crate) const PROGRAM_NAME: &str = "off";

/// A machine that boots and switches off.
#[derive(Debug)]
pub(crate) struct RawQemu {
    program: PathBuf,
    words: Vec<String>,
}

impl RawQemu {
    /// Learns the machine from a run of the product.
    pub(crate) fn like_the_product(bench: &Bench) -> Result<Self> {
        let running = bench
            .microagent()
            .args([
                "run",
                &debian_source()?,
                "--",
                "sh",
                "-c",
                "echo up; exec sleep 60",
            ])
            .spawn()?;
        let learned = running
            .wait_for_stdout("up\n")
            .and_then(|()| command_line(bench));
        running.signal(Signal::INT)?;
        running.finish()?;
        let (program, words) = learned?;
        let initramfs = bench.home().work_dir().join("initramfs");
        make_initramfs(bench.prefix(), &initramfs)?;
        let kernel = installed(bench.prefix(), "kernels/qemu", "Image")?;
        let mut machine = machine_words(&words);
        machine.extend(["-display", "none", "-serial", "null", "-kernel"].map(str::to_owned));
        machine.push(kernel.display().to_string());
        machine.push("-initrd".to_owned());
        machine.push(initramfs.display().to_string());
        let append = value_of(&words, "-append").context("the product names a command line")?;
        machine.push("-append".to_owned());
        machine.push(format!("{append} rdinit=/{PROGRAM_NAME}"));
        Ok(Self {
            program,
            words: machine,
        })
    }

    /// From its start to its end.
    pub(crate) fn run(&self) -> Result<Duration> {
        timed(|| {
            let status = Command::new(&self.program)
                .args(&self.words)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .status()
                .context("cannot start QEMU")?;
            if !status.success() {
                bail!("bare QEMU ended with {status}: {:?}", self.words);
            }
            Ok(())
        })
    }
}

/// Program and words of the product's QEMU.
pub(crate) fn command_line(bench: &Bench) -> Result<(PathBuf, Vec<String>)> {
    for process in bench.home().processes() {
        let bytes = std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        let mut words = bytes
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned());
        let Some(program) = words.next() else {
            continue;
        };
        let name = program.rsplit('/').next().unwrap_or_default().to_owned();
        if name.starts_with("qemu-system-") {
            return Ok((PathBuf::from(name), words.collect()));
        }
    }
    bail!("no QEMU runs for the product")
}

pub(crate) fn machine_words(words: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let value = words.get(index + 1);
        let is_memory =
            word == "-object" && value.is_some_and(|value| value.starts_with("memory-backend"));
        if FLAGS.contains(&word.as_str()) {
            kept.push(word.clone());
        } else if MACHINE_WORDS.contains(&word.as_str()) || is_memory {
            kept.push(word.clone());
            kept.extend(value.cloned());
        }
    }
    kept
}

pub(crate) fn value_of<'a>(words: &'a [String], flag: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| word == flag)?;
    words.get(at + 1).map(String::as_str)
}

pub(crate) fn installed(prefix: &Path, folder: &str, name: &str) -> Result<PathBuf> {
    let folder = prefix.join("libexec").join(folder);
    let arch = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot list `{}`", folder.display()))?
        .flatten()
        .next()
        .context("there is one kernel")?;
    Ok(arch.path().join(name))
}

/// The product's initramfs with a first process behind it that resets the machine.
pub(crate) fn make_initramfs(prefix: &Path, target: &Path) -> Result<()> {
    let libexec = prefix.join("libexec");
    let cpio = std::fs::read_dir(&libexec)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "cpio")
        })
        .context("the product has an initramfs")?;
    let mut bytes = std::fs::read(cpio)?;
    // The kernel looks for the next archive at a multiple of four.
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let program = switch_off().context("no program for this processor")?;
    bytes.extend(archive(PROGRAM_NAME, &program));
    std::fs::write(target, bytes).context("cannot write an initramfs")
}

/// A newc archive with one executable file.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry(&mut bytes, name, 0o100_755, content);
    entry(&mut bytes, "TRAILER!!!", 0, &[]);
    bytes
}

fn entry(bytes: &mut Vec<u8>, name: &str, mode: usize, content: &[u8]) {
    let fields = [
        1,
        mode,
        0,
        0,
        1,
        0,
        content.len(),
        0,
        0,
        0,
        0,
        name.len() + 1,
        0,
    ];
    bytes.extend(b"070701");
    for field in fields {
        bytes.extend(format!("{field:08x}").bytes());
    }
    bytes.extend(name.bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// A static program that does nothing but the reboot call, which ends a machine that does not reboot.
fn switch_off() -> Option<Vec<u8>> {
    cfg!(target_arch = "x86_64").then(|| {
        let code: &[u8] = &[
            0xbf, 0xad, 0xde, 0xe1, 0xfe, // mov edi, LINUX_REBOOT_MAGIC1
            0xbe, 0x69, 0x19, 0x12, 0x28, // mov esi, LINUX_REBOOT_MAGIC2
            0xba, 0x67, 0x45, 0x23, 0x01, // mov edx, LINUX_REBOOT_CMD_RESTART
            0xb8, 0xa9, 0x00, 0x00, 0x00, // mov eax, __NR_reboot
            0x0f, 0x05, // syscall
            0xeb, 0xfe, // jmp to itself
        ];
        elf(code)
    })
}

/// An ELF file of one segment for x86-64.
fn elf(code: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 64 + 56;
    const BASE: u64 = 0x40_0000;
    let size = HEADERS + code.len() as u64;
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    bytes.extend((BASE + HEADERS).to_le_bytes());
    bytes.extend(64_u64.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for number in [0, BASE, BASE, size, size, 0x1000] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(code);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_left_out_and_the_machine_stays() {
        let words = "-M microvm -accel tcg -smp 2 -object memory-backend-memfd,id=mem -object rng-random,id=rng -device x -nodefaults -S"
            .split(' ')
            .map(str::to_owned)
            .collect::<Vec<_>>();
        assert_eq!(
            machine_words(&words).join(" "),
            "-M microvm -accel tcg -smp 2 -object memory-backend-memfd,id=mem -nodefaults"
        );
        assert_eq!(value_of(&words, "-accel"), Some("tcg"));
    }

    #[test]
    fn the_headers_of_the_program_have_their_sizes() {
        assert_eq!(elf(&[]).len(), 120);
    }

    #[test]
    fn another_tool_reads_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive");
        std::fs::write(&path, archive("off", b"12345")).unwrap();
        let output = Command::new("cpio")
            .args(["--list", "--verbose", "--quiet"])
            .stdin(std::fs::File::open(&path).unwrap())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.starts_with("-rwxr-xr-x") && text.contains(" 5 "),
            "{text}"
        );
    }
}
