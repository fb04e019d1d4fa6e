//! The little of ELF that the guest chore must know: does a program ask for an interpreter?
//!
//! The initramfs holds one file, so a guest init that wants a dynamic loader would end every boot
//! with a panic that does not say why. Pure; it reads what our own linker wrote, and refuses the
//! rest.

const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
const PT_INTERP: u32 = 3;

/// A file that is no 64-bit little-endian ELF program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotElf;

impl std::fmt::Display for NotElf {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("this is no complete 64-bit little-endian ELF program")
    }
}

impl std::error::Error for NotElf {}

/// Whether the program names an interpreter, that is, a dynamic loader.
pub(crate) fn has_interpreter(program: &[u8]) -> Result<bool, NotElf> {
    let header = program.get(..HEADER_BYTES).ok_or(NotElf)?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return Err(NotElf);
    }
    let offset = usize::try_from(number(header, 32, 8)).map_err(|_| NotElf)?;
    let size = usize::try_from(number(header, 54, 2)).map_err(|_| NotElf)?;
    let count = usize::try_from(number(header, 56, 2)).map_err(|_| NotElf)?;
    if size < PROGRAM_HEADER_BYTES {
        return Err(NotElf);
    }
    let table = program
        .get(offset..)
        .and_then(|rest| rest.get(..size.checked_mul(count)?))
        .ok_or(NotElf)?;
    Ok(table
        .chunks_exact(size)
        .any(|entry| number(entry, 0, 4) == u64::from(PT_INTERP)))
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length]
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(kinds: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES + kinds.len() * PROGRAM_HEADER_BYTES];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = u8::try_from(kinds.len()).unwrap();
        for (index, kind) in kinds.iter().enumerate() {
            let at = HEADER_BYTES + index * PROGRAM_HEADER_BYTES;
            bytes[at..at + 4].copy_from_slice(&kind.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn an_interpreter_is_seen() {
        assert_eq!(has_interpreter(&program(&[6, PT_INTERP, 1])), Ok(true));
        assert_eq!(has_interpreter(&program(&[6, 1, 2])), Ok(false));
    }

    #[test]
    fn this_very_test_has_one() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(has_interpreter(&own), Ok(true));
    }

    #[test]
    fn a_torn_program_is_refused() {
        let whole = program(&[1, 1]);
        for length in 0..whole.len() {
            assert_eq!(has_interpreter(&whole[..length]), Err(NotElf));
        }
        assert_eq!(has_interpreter(&whole), Ok(false));
    }
}
