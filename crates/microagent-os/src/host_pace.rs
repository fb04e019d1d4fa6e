//! Whether this host is itself emulated, and what a limit of time means then.
//!
//! A host whose own processor is QEMU's emulation is slower in everything by a factor that no deadline
//! for hardware allows for, also where its KVM works. It says so in its processor's name, so nobody
//! has to be told and nobody can forget. Limits are never loosened anywhere else.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use crate::fs;

const CPUINFO: &str = "/proc/cpuinfo";
const CPUINFO_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// In the name of a processor that QEMU emulates.
const EMULATED_MODEL: &str = "QEMU TCG";
/// How many times longer work of the host may take there.
const EMULATION_FACTOR: u32 = 5;

/// Whether this host is emulated itself. Looked up once; false where it can't be told.
pub fn is_emulated() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        fs::read_text_bounded(Path::new(CPUINFO), CPUINFO_BYTES_MAX)
            .is_ok_and(|cpuinfo| is_emulated_in(&cpuinfo))
    })
}

/// A limit on work that this host does: as given, and five times that on a host that is emulated.
pub fn limit(on_hardware: Duration) -> Duration {
    if is_emulated() {
        on_hardware * EMULATION_FACTOR
    } else {
        on_hardware
    }
}

fn is_emulated_in(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .any(|(key, name)| key.trim() == "model name" && name.contains(EMULATED_MODEL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_of_qemus_emulation_is_known_by_its_name() {
        let named = |name: &str| format!("processor\t: 0\nmodel name\t: {name}\nflags\t\t: svm\n");
        assert!(is_emulated_in(&named("QEMU TCG CPU version 2.5+")));
        for other in ["AMD EPYC 7B13", "QEMU Virtual CPU version 2.5+"] {
            assert!(!is_emulated_in(&named(other)), "{other}");
        }
    }

    #[test]
    fn a_limit_grows_exactly_where_the_host_is_emulated() {
        let factor = if is_emulated() { EMULATION_FACTOR } else { 1 };
        assert_eq!(
            limit(Duration::from_secs(2)),
            Duration::from_secs(2) * factor
        );
    }
}
