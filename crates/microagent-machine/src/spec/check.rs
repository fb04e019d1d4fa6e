//! The rules between the fields of a spec, and between a spec and its host.

use std::collections::BTreeSet;
use std::fmt;

use microagent_types::{Arch, ByteSize, Opening, VcpuCount};

use super::{
    ARGUMENTS_BYTES_MAX, ARGUMENTS_MAX, DISKS_MAX, DNS_MAX, LABELS_MAX, MEMORY_BYTES_MIN,
    MEMORY_STEP_BYTES, MachineSpec, NetworkMode, PUBLISH_MAX, ROOT_DISK_BYTES_MAX,
    ROOT_DISK_STEP_BYTES,
};

/// Guest folders that no disk may hide, with everything below them where it says so.
const RESERVED_MOUNTS: [&str; 5] = ["/", "/proc", "/sys", "/dev", "/run"];
/// Longest value of a label.
const LABEL_VALUE_BYTES_MAX: usize = 256;

/// What the host that is to run it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostLimits {
    /// Its architecture.
    pub arch: Arch,
    /// Its memory.
    pub memory: ByteSize,
    /// The most virtual CPUs that its backend gives.
    pub cpus: VcpuCount,
}

/// One thing that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecProblem {
    /// The path of the field, as the caller knows it: `config.disks[1].mount`.
    pub path: String,
    /// What is wrong, as a fragment without a full stop.
    pub problem: String,
}

impl fmt::Display for SpecProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`: {}", self.path, self.problem)
    }
}

#[derive(Default)]
struct Problems(Vec<SpecProblem>);

impl Problems {
    fn add(&mut self, path: impl Into<String>, problem: impl Into<String>) {
        self.0.push(SpecProblem {
            path: path.into(),
            problem: problem.into(),
        });
    }

    fn limit(&mut self, path: &str, what: &str, found: usize, max: usize) {
        if found > max {
            self.add(path, format!("{found} {what}, at most {max} are allowed"));
        }
    }
}

impl MachineSpec {
    /// Everything that is wrong with the spec by itself, in the order of its fields.
    pub fn problems(&self) -> Vec<SpecProblem> {
        let mut problems = Problems::default();
        self.check_memory(&mut problems);
        self.check_root_disk(&mut problems);
        self.check_disks(&mut problems);
        self.check_workload(&mut problems);
        self.check_network(&mut problems);
        problems.limit("config.labels", "labels", self.labels.len(), LABELS_MAX);
        for (name, value) in &self.labels {
            if value.len() > LABEL_VALUE_BYTES_MAX {
                let problem = format!("longer than {LABEL_VALUE_BYTES_MAX} bytes");
                problems.add(format!("config.labels.{name}"), problem);
            }
        }
        problems.0
    }

    /// Everything that this host cannot give.
    pub fn problems_on(&self, host: HostLimits) -> Vec<SpecProblem> {
        let mut problems = Problems::default();
        if self.arch != host.arch {
            let problem = format!("this host runs `{}` guests only", host.arch);
            problems.add("config.arch", problem);
        }
        if self.cpus > host.cpus {
            let problem = format!("{} is more than {}", self.cpus.get(), host.cpus.get());
            problems.add("config.cpus", problem);
        }
        if self.memory > host.memory {
            let problem = format!("more than the host's {} bytes", host.memory.bytes());
            problems.add("config.memoryBytes", problem);
        }
        problems.0
    }

    fn check_memory(&self, problems: &mut Problems) {
        let bytes = self.memory.bytes();
        if bytes < MEMORY_BYTES_MIN {
            problems.add(
                "config.memoryBytes",
                format!("less than {MEMORY_BYTES_MIN}"),
            );
        }
        if !bytes.is_multiple_of(MEMORY_STEP_BYTES) {
            let problem = format!("not a multiple of {MEMORY_STEP_BYTES}");
            problems.add("config.memoryBytes", problem);
        }
    }

    fn check_root_disk(&self, problems: &mut Problems) {
        let bytes = self.root_disk.size.bytes();
        let path = "config.rootDisk.sizeBytes";
        if bytes == 0 || !bytes.is_multiple_of(ROOT_DISK_STEP_BYTES) {
            problems.add(path, format!("not a multiple of {ROOT_DISK_STEP_BYTES}"));
        }
        if bytes > ROOT_DISK_BYTES_MAX {
            problems.add(path, format!("more than {ROOT_DISK_BYTES_MAX}"));
        }
    }

    fn check_disks(&self, problems: &mut Problems) {
        problems.limit("config.disks", "disks", self.disks.len(), DISKS_MAX);
        let mut names = BTreeSet::new();
        let mut mounts = BTreeSet::new();
        let mut files = BTreeSet::new();
        for (index, disk) in self.disks.iter().enumerate() {
            let field = |field: &str| format!("config.disks[{index}].{field}");
            if !names.insert(disk.name.as_str()) {
                problems.add(field("name"), format!("`{}` is taken", disk.name));
            }
            if !files.insert(disk.path.as_str()) {
                problems.add(field("path"), format!("`{}` is attached twice", disk.path));
            }
            match plain_path(disk.mount.as_str()) {
                None => problems.add(field("mount"), "`.`, `..` and `//` are not allowed here"),
                Some(mount) if RESERVED_MOUNTS.contains(&mount) => {
                    problems.add(field("mount"), format!("`{mount}` belongs to the system"));
                }
                Some(mount) => {
                    if !mounts.insert(mount) {
                        problems.add(field("mount"), format!("`{mount}` is taken"));
                    }
                }
            }
        }
    }

    fn check_workload(&self, problems: &mut Problems) {
        let Some(workload) = &self.workload else {
            return;
        };
        let path = "config.workload.argv";
        if workload.argv.first().is_none_or(String::is_empty) {
            problems.add(path, "it names no command");
        }
        problems.limit(path, "words", workload.argv.len(), ARGUMENTS_MAX);
        let bytes: usize = workload.argv.iter().map(String::len).sum();
        problems.limit(path, "bytes", bytes, ARGUMENTS_BYTES_MAX);
        if workload.argv.iter().any(|word| word.contains('\0')) {
            problems.add(path, "a word holds no NUL");
        }
    }

    fn check_network(&self, problems: &mut Problems) {
        problems.limit(
            "config.network.dns",
            "addresses",
            self.network.dns.len(),
            DNS_MAX,
        );
        if !self.network.reach.is_empty() && self.network.mode != NetworkMode::Nat {
            let problem = format!("a network in mode `{}` opens nothing", self.network.mode);
            problems.add("config.network.reach", problem);
        }
        problems.limit(
            "config.network.reach",
            "openings",
            self.network.reach.len(),
            Opening::ALL.len(),
        );
        let publish = &self.network.publish;
        problems.limit(
            "config.network.publish",
            "ports",
            publish.len(),
            PUBLISH_MAX,
        );
        let mut listeners = BTreeSet::new();
        for (index, entry) in publish.iter().enumerate() {
            // Port 0 takes a free one each time, so two of them are two.
            if entry.host_port.get() != 0 && !listeners.insert(entry.socket_addr()) {
                let problem = format!("`{}` is published twice", entry.socket_addr());
                problems.add(format!("config.network.publish[{index}]"), problem);
            }
        }
    }
}

/// The path without a slash at its end; `None` when it has parts that mean another place.
fn plain_path(path: &str) -> Option<&str> {
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return Some("/");
    }
    let plain = trimmed
        .split('/')
        .skip(1)
        .all(|part| !matches!(part, "" | "." | ".."));
    plain.then_some(trimmed)
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;

    pub(crate) fn spec() -> MachineSpec {
        MachineSpec {
            arch: Arch::Amd64,
            cpus: VcpuCount::new(2).unwrap(),
            memory: ByteSize::from_mib(2048),
            kernel: Kernel {
                path: "/k/Image".parse().unwrap(),
                sha256: Sha256Hex::from_bytes([1; 32]),
                pin: KernelPin::Default,
            },
            initramfs: Initramfs {
                path: "/k/init.cpio".parse().unwrap(),
                sha256: Sha256Hex::from_bytes([2; 32]),
            },
            root_disk: RootDisk {
                path: "/ws/rootfs.ext4".parse().unwrap(),
                format: DiskFormat::Raw,
                size: ByteSize::from_mib(1024),
                clone_from: None,
                clone: None,
            },
            disks: Vec::new(),
            hostname: "scout".parse().unwrap(),
            workload: None,
            env: Environment::new(),
            files: Vec::new(),
            network: Network {
                mode: NetworkMode::Nat,
                dns: Vec::new(),
                reach: Vec::new(),
                publish: Vec::new(),
            },
            mediation: None,
            image: None,
            profile: None,
            labels: BTreeMap::new(),
            lifetime: Lifetime::Kept,
        }
    }

    fn disk(name: &str, mount: &str) -> DataDisk {
        DataDisk {
            name: name.parse().unwrap(),
            path: format!("/disks/{name}.ext4").parse().unwrap(),
            mount: mount.parse().unwrap(),
            access: DiskAccess::ReadWrite,
            ownership: Ownership::Foreign,
        }
    }

    fn paths(spec: &MachineSpec) -> Vec<String> {
        spec.problems()
            .into_iter()
            .map(|problem| problem.path)
            .collect()
    }

    #[test]
    fn an_ordinary_spec_has_no_problem() {
        assert_eq!(spec().problems(), []);
    }

    #[test]
    fn memory_has_a_least_amount_and_a_step() {
        for (bytes, problems) in [
            (MEMORY_BYTES_MIN, 0),
            (MEMORY_BYTES_MIN - MEMORY_STEP_BYTES, 1),
            (MEMORY_BYTES_MIN + 1, 1),
            (1, 2),
        ] {
            let spec = MachineSpec {
                memory: ByteSize::from_bytes(bytes),
                ..spec()
            };
            assert_eq!(
                paths(&spec),
                vec!["config.memoryBytes"; problems],
                "{bytes}"
            );
        }
    }

    #[test]
    fn a_root_disk_is_whole_mebibytes_up_to_its_limit() {
        for (bytes, good) in [
            (ROOT_DISK_BYTES_MAX, true),
            (ROOT_DISK_BYTES_MAX + ROOT_DISK_STEP_BYTES, false),
            (ROOT_DISK_STEP_BYTES, true),
            (ROOT_DISK_STEP_BYTES + 512, false),
            (0, false),
        ] {
            let mut spec = spec();
            spec.root_disk.size = ByteSize::from_bytes(bytes);
            assert_eq!(spec.problems().is_empty(), good, "{bytes}");
        }
    }

    #[test]
    fn disks_have_their_own_names_files_and_places() {
        let mut spec = spec();
        spec.disks = vec![disk("a", "/data"), disk("b", "/more")];
        assert_eq!(spec.problems(), []);
        spec.disks = vec![disk("a", "/data"), disk("a", "/data/"), disk("c", "/proc")];
        assert_eq!(
            paths(&spec),
            [
                "config.disks[1].name",
                "config.disks[1].path",
                "config.disks[1].mount",
                "config.disks[2].mount",
            ]
        );
    }

    #[test]
    fn no_spelling_of_a_reserved_folder_is_a_mount_point() {
        for mount in ["/", "//", "/proc/", "/sys", "/x/../dev", "/./run", "/dev//"] {
            let mut spec = spec();
            spec.disks = vec![disk("a", mount)];
            assert_eq!(paths(&spec), ["config.disks[0].mount"], "{mount}");
        }
    }

    #[test]
    fn eight_disks_are_allowed_and_nine_are_not() {
        let mut spec = spec();
        spec.disks = (0..8)
            .map(|n| disk(&format!("d{n}"), &format!("/d{n}")))
            .collect();
        assert_eq!(spec.problems(), []);
        spec.disks.push(disk("d8", "/d8"));
        assert_eq!(paths(&spec), ["config.disks"]);
    }

    #[test]
    fn the_same_listener_twice_is_refused_and_two_free_ones_are_not() {
        let mut spec = spec();
        spec.network.publish = ["8080:80", "8080:81", "0:80", "0:80"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        assert_eq!(paths(&spec), ["config.network.publish[1]"]);
    }

    #[test]
    fn a_workload_names_a_command() {
        let workload = |argv: Vec<String>| Workload {
            argv,
            env: Environment::new(),
            user: None,
            workdir: GuestPath::root(),
            stop_signal: SignalName::TERM,
        };
        for (argv, good) in [
            (vec!["true".to_owned()], true),
            (vec![], false),
            (vec![String::new()], false),
            (vec!["a\0".to_owned()], false),
            (vec!["x".to_owned(); ARGUMENTS_MAX], true),
            (vec!["x".to_owned(); ARGUMENTS_MAX + 1], false),
        ] {
            let spec = MachineSpec {
                workload: Some(workload(argv)),
                ..spec()
            };
            assert_eq!(spec.problems().is_empty(), good);
        }
    }

    #[test]
    fn a_host_gives_what_it_has() {
        let host = HostLimits {
            arch: Arch::Amd64,
            memory: ByteSize::from_mib(2048),
            cpus: VcpuCount::new(2).unwrap(),
        };
        assert_eq!(spec().problems_on(host), []);
        let small = HostLimits {
            arch: Arch::Arm64,
            memory: ByteSize::from_mib(2047),
            cpus: VcpuCount::new(1).unwrap(),
        };
        assert_eq!(spec().problems_on(small).len(), 3);
    }

    #[test]
    fn a_user_of_the_guest_has_a_form() {
        for good in ["root", "1000", "bot:staff", "0:0", "_apt"] {
            assert!(good.parse::<GuestUser>().is_ok(), "{good}");
        }
        for bad in ["", ":", "a:", ":b", "a:b:c", "a b", "a/b", "a\n"] {
            assert!(bad.parse::<GuestUser>().is_err(), "{bad}");
        }
    }
}
