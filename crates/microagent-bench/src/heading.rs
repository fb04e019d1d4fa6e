//! Where the figures come from: a figure without its machine says nothing.

use crate::bench::Bench;
use std::path::Path;

/// The lines above all figures.
pub(crate) fn text(bench: &Bench) -> String {
    let facts = bench
        .microagent()
        .args(["doctor", "--json"])
        .run()
        .ok()
        .and_then(|finished| finished.json().ok())
        .unwrap_or_default();
    let word = |key: &str| facts[key].as_str().unwrap_or("unknown").to_owned();
    format!(
        "kernel      {}\ncpu         {}\nbackend     {}\naccelerator {}\nfilesystem  {}\nrounds      {}\n",
        read("/proc/sys/kernel/osrelease"),
        processor(&read("/proc/cpuinfo")),
        word("backend"),
        word("accelerator"),
        filesystem(&read("/proc/self/mounts"), bench.home().path()),
        bench.rounds(),
    )
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Model and number of processors.
fn processor(cpuinfo: &str) -> String {
    let values = |key: &str| -> Vec<String> {
        cpuinfo
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| name.trim() == key)
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    };
    let count = values("processor").len();
    let model = values("model name").first().cloned();
    format!(
        "{count} × {}",
        model.unwrap_or_else(|| "unknown".to_owned())
    )
}

/// The type of the file system that holds a path.
fn filesystem(mounts: &str, path: &Path) -> String {
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (_, at, kind) = (words.next()?, words.next()?, words.next()?);
            path.starts_with(at).then_some((at.len(), kind))
        })
        .max_by_key(|(length, _)| *length)
        .map_or("unknown", |(_, kind)| kind)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp2 xfs rw 0 0\n";
        assert_eq!(filesystem(mounts, Path::new("/tmp/x")), "tmpfs");
        assert_eq!(filesystem(mounts, Path::new("/home")), "ext4");
    }

    #[test]
    fn processors_are_counted() {
        let text = "processor\t: 0\nmodel name\t: A 1\n\nprocessor\t: 1\nmodel name\t: A 1\n";
        assert_eq!(processor(text), "2 × A 1");
    }
}
