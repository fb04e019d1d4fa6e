//! What a process uses, as `/proc` tells it.

use std::path::Path;
use std::time::Duration;

use super::{ProcessIdentity, Usage};
use crate::fs;

/// Bytes of a file in `/proc` that are read.
const PROC_FILE_BYTES_MAX: u64 = 16 * 1024;
/// Ticks of a second in `/proc`: `USER_HZ`, which is 100 on every processor that is supported.
const TICKS_OF_SECOND: u64 = 100;
/// Fields of `/proc/<pid>/stat` behind the name: time in user mode and in the kernel, and the start.
const USER_TICKS: usize = 11;
const KERNEL_TICKS: usize = 12;
const START_TIME: usize = 19;

/// Of one process; none when it has ended, also when another has its pid by now.
pub fn usage(identity: &ProcessIdentity) -> Option<Usage> {
    let file = |name: &str| {
        let path = format!("/proc/{}/{name}", identity.pid());
        fs::read_text_bounded(Path::new(&path), PROC_FILE_BYTES_MAX).ok()
    };
    let status = file("status")?;
    let (cpu, start_time) = times(&file("stat")?)?;
    (start_time == identity.start_time().as_str()).then(|| Usage {
        cpu,
        memory_bytes: resident_bytes(&status).unwrap_or(0),
    })
}

/// Processor time and start, from `stat`. A name may hold anything, so the fields begin behind its end.
fn times(stat: &str) -> Option<(Duration, String)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let used = ticks(USER_TICKS)? + ticks(KERNEL_TICKS)?;
    let cpu = Duration::from_millis(used * 1000 / TICKS_OF_SECOND);
    Some((cpu, (*fields.get(START_TIME)?).to_owned()))
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "a test measures with the plain clock"
)]
mod tests {
    use super::{times, usage};
    use crate::process::{ProcessIdentity, StartTime, current_identity};
    use std::time::{Duration, Instant};

    #[test]
    fn a_name_cannot_pretend_to_be_fields() {
        let stat = "7 (a) R 1 (b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 4711 0";
        let (cpu, start) = times(stat).unwrap();
        assert_eq!((cpu, start.as_str()), (Duration::from_secs(3), "4711"));
        assert_eq!(times("7 (a) R 1"), None);
    }

    #[test]
    fn this_process_uses_memory_and_time_and_another_with_its_pid_is_not_it() {
        let own = current_identity().unwrap();
        let before = usage(&own).unwrap();
        assert!(before.memory_bytes > 100_000, "{before:?}");
        let began = Instant::now();
        while usage(&own).unwrap().cpu <= before.cpu {
            assert!(began.elapsed() < Duration::from_mins(1));
        }
        let other = StartTime::from_recorded("1").unwrap();
        let other = ProcessIdentity::from_recorded(own.pid(), other).unwrap();
        assert_eq!(usage(&other), None);
    }
}
