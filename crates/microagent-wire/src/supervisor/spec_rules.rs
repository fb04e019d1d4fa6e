//! Rules of a Config that no single field can hold. All broken ones are reported at once.

use super::request::Problem;
use super::spec::{Config, DiskConfig, WorkloadConfig};
use crate::limits::{ARGV_BYTES_MAX, ARGV_WORDS_MAX, FIRST_BOOT_ARCHIVES_MAX};
use microagent_types::byte_size::{MIB, TIB};
use microagent_types::label::{LABEL_VALUE_BYTES_MAX, LABELS_MAX};
use std::collections::HashSet;

const MEMORY_BYTES_MIN: u64 = 128 * MIB;
const MEMORY_STEP_BYTES: u64 = 2 * MIB;
const DISK_BYTES_MAX: u64 = 16 * TIB;
const DISKS_MAX: usize = 8;
const DNS_MAX: usize = 3;
const PUBLISH_MAX: usize = 64;
const MOUNTS_REFUSED: [&str; 5] = ["/", "/proc", "/sys", "/dev", "/run"];

impl Config {
    /// Every rule this Config breaks; empty when it breaks none.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut refuse = |broken: bool, path: &str, message: &str| {
            if broken {
                problems.push(Problem::new(format!("config.{path}"), message));
            }
        };
        let memory = self.memory_bytes.bytes();
        refuse(
            memory < MEMORY_BYTES_MIN,
            "memoryBytes",
            "memory is at least 128 MiB",
        );
        refuse(
            !memory.is_multiple_of(MEMORY_STEP_BYTES),
            "memoryBytes",
            "memory is a multiple of 2 MiB",
        );
        let disk = self.root_disk.size_bytes.bytes();
        refuse(
            disk == 0 || !disk.is_multiple_of(MIB),
            "rootDisk.sizeBytes",
            "a disk is a multiple of 1 MiB",
        );
        refuse(
            disk > DISK_BYTES_MAX,
            "rootDisk.sizeBytes",
            "a disk holds at most 16 TiB",
        );
        refuse(
            self.root_disk.clone.is_some(),
            "rootDisk.clone",
            "this field is set by the supervisor",
        );
        refuse(
            self.disks.len() > DISKS_MAX,
            "disks",
            "a workspace has at most 8 data disks",
        );
        refuse(
            self.files.len() > FIRST_BOOT_ARCHIVES_MAX,
            "files",
            "a workspace starts with at most 256 archives of files",
        );
        refuse(
            self.network.dns.len() > DNS_MAX,
            "network.dns",
            "at most 3 name servers are set",
        );
        refuse(
            self.network.publish.len() > PUBLISH_MAX,
            "network.publish",
            "at most 64 ports are published",
        );
        refuse(
            self.labels.len() > LABELS_MAX,
            "labels",
            "a workspace has at most 64 labels",
        );
        for (name, value) in &self.labels {
            refuse(
                value.len() > LABEL_VALUE_BYTES_MAX,
                &format!("labels.{name}"),
                "a label holds at most 256 bytes",
            );
        }
        self.disk_problems(&mut problems);
        self.publish_problems(&mut problems);
        if let Some(workload) = &self.workload {
            workload_problems(workload, &mut problems);
        }
        problems
    }

    fn disk_problems(&self, problems: &mut Vec<Problem>) {
        let (mut names, mut mounts) = (HashSet::new(), HashSet::new());
        for (index, DiskConfig { name, mount, .. }) in self.disks.iter().enumerate() {
            let path = |field: &str| format!("config.disks[{index}].{field}");
            if !names.insert(name) {
                problems.push(Problem::new(
                    path("name"),
                    format!("the disk `{name}` stands twice"),
                ));
            }
            let plain = mount.as_str().trim_end_matches('/');
            let plain = if plain.is_empty() { "/" } else { plain };
            let within =
                |refused: &&str| *refused != "/" && plain.starts_with(&format!("{refused}/"));
            if MOUNTS_REFUSED.contains(&plain) || MOUNTS_REFUSED.iter().any(within) {
                problems.push(Problem::new(
                    path("mount"),
                    format!("nothing is mounted at `{mount}`"),
                ));
            }
            if !mounts.insert(plain) {
                problems.push(Problem::new(
                    path("mount"),
                    format!("`{mount}` is mounted twice"),
                ));
            }
        }
    }

    fn publish_problems(&self, problems: &mut Vec<Problem>) {
        let mut seen = HashSet::new();
        for (index, publish) in self.network.publish.iter().enumerate() {
            let twice = !seen.insert((publish.host, publish.host_port));
            if publish.host_port.get() != 0 && twice {
                let path = format!("config.network.publish[{index}]");
                let message = format!(
                    "host port `{}:{}` is published twice",
                    publish.host, publish.host_port
                );
                problems.push(Problem::new(path, message));
            }
        }
    }
}

fn workload_problems(workload: &WorkloadConfig, problems: &mut Vec<Problem>) {
    let words = workload.argv.len();
    let bytes: usize = workload.argv.iter().map(String::len).sum();
    let mut refuse = |broken: bool, message: &str| {
        if broken {
            problems.push(Problem::new("config.workload.argv".to_owned(), message));
        }
    };
    refuse(words == 0, "a command has at least one word");
    refuse(words > ARGV_WORDS_MAX, "a command has at most 4096 words");
    refuse(bytes > ARGV_BYTES_MAX, "a command holds at most 1 MiB");
    refuse(
        workload.argv.iter().any(|word| word.contains('\0')),
        "a word of a command holds no NUL",
    );
}
