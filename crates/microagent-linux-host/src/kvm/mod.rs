//! Whether `/dev/kvm` can run a guest here, and why not.
//!
//! Some hosts offer a device that opens and answers, and then can't run an unmodified guest kernel:
//! a guest of a hypervisor without nested virtualization. A VMM that finds out by itself fails
//! late and says little, so the question is answered before one is started. Reading the host is
//! `KvmFacts::observe`; the judgement is pure.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::observe;

use std::fmt;
use std::str::FromStr;

use microagent_types::Arch;

/// The device.
pub const KVM_DEVICE: &str = "/dev/kvm";
/// The only version that the kernel's stable interface has ever had.
pub const KVM_API_VERSION: i32 = 12;
/// CPU flags of x86 that say that hardware virtualization is there.
const CPU_FLAGS: [&str; 2] = ["vmx", "svm"];

/// What was found on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvmFacts {
    /// How far opening and asking the device came.
    pub device: KvmDevice,
    /// Whether the CPU shows the flag. Only x86 has one; elsewhere this is true.
    pub cpu_flag: bool,
}

/// How far opening and asking `/dev/kvm` came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvmDevice {
    /// There is none.
    Absent,
    /// It is there and can't be opened for reading and writing, for this reason.
    Closed {
        /// The system's words.
        reason: String,
    },
    /// It opens and does not tell its version, for this reason.
    Mute {
        /// The system's words.
        reason: String,
    },
    /// It opens and has this version.
    Open {
        /// What it answered.
        api_version: i32,
    },
}

/// The user's word on the question, from `MICROAGENT_KVM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvmOverride {
    /// Use it, whatever the probe says.
    On,
    /// Don't use it.
    Off,
}

/// A value of `MICROAGENT_KVM` that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`MICROAGENT_KVM` is `{text}`; on or off is expected")]
pub struct InvalidOverride {
    /// The value.
    pub text: String,
}

impl FromStr for KvmOverride {
    type Err = InvalidOverride;

    fn from_str(text: &str) -> Result<Self, InvalidOverride> {
        match text {
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err(InvalidOverride {
                text: text.chars().take(32).collect(),
            }),
        }
    }
}

impl KvmOverride {
    /// The word as it is set and reported.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// The judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvmVerdict {
    /// A VMM may use it.
    Usable,
    /// A VMM must not.
    Unusable(KvmObstacle),
}

/// Why KVM is not usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvmObstacle {
    /// The user said so.
    SwitchedOff,
    /// There is no device.
    Absent,
    /// The device can't be opened.
    Closed {
        /// The system's words.
        reason: String,
    },
    /// The device does not tell its version.
    Mute {
        /// The system's words.
        reason: String,
    },
    /// Another version than 12.
    ApiVersion {
        /// What it answered.
        found: i32,
    },
    /// The CPU shows neither `vmx` nor `svm`.
    NoCpuFlag,
}

impl fmt::Display for KvmObstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SwitchedOff => formatter.write_str("`MICROAGENT_KVM` is `off`"),
            Self::Absent => write!(formatter, "there is no `{KVM_DEVICE}`"),
            Self::Closed { reason } => {
                write!(formatter, "`{KVM_DEVICE}` can't be opened: {reason}")
            }
            Self::Mute { reason } => {
                write!(formatter, "`{KVM_DEVICE}` does not answer: {reason}")
            }
            Self::ApiVersion { found } => write!(
                formatter,
                "`{KVM_DEVICE}` has version {found}, {KVM_API_VERSION} is needed"
            ),
            Self::NoCpuFlag => formatter
                .write_str("the CPU shows neither `vmx` nor `svm`, so it can't run a guest kernel"),
        }
    }
}

/// Judges. The user's word goes before everything that was found.
pub fn judge(facts: &KvmFacts, user: Option<KvmOverride>) -> KvmVerdict {
    match user {
        Some(KvmOverride::On) => return KvmVerdict::Usable,
        Some(KvmOverride::Off) => return KvmVerdict::Unusable(KvmObstacle::SwitchedOff),
        None => {}
    }
    let obstacle = match &facts.device {
        KvmDevice::Absent => KvmObstacle::Absent,
        KvmDevice::Closed { reason } => KvmObstacle::Closed {
            reason: reason.clone(),
        },
        KvmDevice::Mute { reason } => KvmObstacle::Mute {
            reason: reason.clone(),
        },
        KvmDevice::Open { api_version } if *api_version != KVM_API_VERSION => {
            KvmObstacle::ApiVersion {
                found: *api_version,
            }
        }
        KvmDevice::Open { .. } if !facts.cpu_flag => KvmObstacle::NoCpuFlag,
        KvmDevice::Open { .. } => return KvmVerdict::Usable,
    };
    KvmVerdict::Unusable(obstacle)
}

impl KvmVerdict {
    /// True when a VMM may use it.
    pub fn is_usable(&self) -> bool {
        *self == Self::Usable
    }
}

/// Whether `/proc/cpuinfo` shows hardware virtualization. Only x86 says so there.
pub fn cpu_flag_in(cpuinfo: &str, arch: Arch) -> bool {
    match arch {
        Arch::Arm64 => true,
        Arch::Amd64 => cpuinfo
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(key, _)| key.trim() == "flags")
            .any(|(_, flags)| {
                flags
                    .split_ascii_whitespace()
                    .any(|flag| CPU_FLAGS.contains(&flag))
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(api_version: i32, cpu_flag: bool) -> KvmFacts {
        KvmFacts {
            device: KvmDevice::Open { api_version },
            cpu_flag,
        }
    }

    #[test]
    fn a_device_of_version_12_on_a_cpu_with_the_flag_is_usable() {
        assert!(judge(&open(12, true), None).is_usable());
    }

    #[test]
    fn each_missing_part_is_named() {
        let closed = KvmFacts {
            device: KvmDevice::Closed {
                reason: "Permission denied".to_owned(),
            },
            cpu_flag: true,
        };
        let absent = KvmFacts {
            device: KvmDevice::Absent,
            cpu_flag: true,
        };
        for (facts, obstacle) in [
            (open(12, false), KvmObstacle::NoCpuFlag),
            (open(11, true), KvmObstacle::ApiVersion { found: 11 }),
            (absent, KvmObstacle::Absent),
            (
                closed,
                KvmObstacle::Closed {
                    reason: "Permission denied".to_owned(),
                },
            ),
        ] {
            assert_eq!(judge(&facts, None), KvmVerdict::Unusable(obstacle));
        }
    }

    #[test]
    fn the_users_word_goes_before_the_probe() {
        assert!(judge(&open(12, false), Some(KvmOverride::On)).is_usable());
        assert_eq!(
            judge(&open(12, true), Some(KvmOverride::Off)),
            KvmVerdict::Unusable(KvmObstacle::SwitchedOff)
        );
        assert!("yes".parse::<KvmOverride>().is_err());
        assert_eq!("off".parse(), Ok(KvmOverride::Off));
    }

    #[test]
    fn a_flag_is_a_whole_word_of_the_flags_line() {
        let intel = "processor\t: 0\nflags\t\t: fpu vme vmx smx\n";
        let not = "model name\t: svm vmx\nflags\t\t: fpu svm_lock vmx_x\nvmx flags\t: vnmi\n";
        assert!(cpu_flag_in(intel, Arch::Amd64));
        assert!(!cpu_flag_in(not, Arch::Amd64));
        assert!(cpu_flag_in(not, Arch::Arm64));
    }
}
