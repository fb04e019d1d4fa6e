//! Profiles: named sizes of a workspace.

use microagent_types::{ByteSize, VcpuCount};
use std::fmt;
use std::str::FromStr;

/// A named size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// 256 MiB, one CPU, 1 GiB of disk.
    Tiny,
    /// 512 MiB, one CPU, 2 GiB of disk.
    Small,
    /// 2 GiB, two CPUs, 8 GiB of disk.
    #[default]
    Medium,
    /// 4 GiB, four CPUs, 16 GiB of disk.
    Large,
}

/// No profile has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no profile `{0}`")]
pub struct UnknownProfile(pub String);

impl Profile {
    /// Every profile, smallest first.
    pub const ALL: [Self; 4] = [Self::Tiny, Self::Small, Self::Medium, Self::Large];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }

    /// Its memory.
    pub const fn memory(self) -> ByteSize {
        ByteSize::from_mib(match self {
            Self::Tiny => 256,
            Self::Small => 512,
            Self::Medium => 2048,
            Self::Large => 4096,
        })
    }

    /// Its CPUs.
    pub fn cpus(self) -> VcpuCount {
        let count = match self {
            Self::Tiny | Self::Small => 1,
            Self::Medium => 2,
            Self::Large => 4,
        };
        VcpuCount::new(count).expect("every profile has 1 to 32 CPUs")
    }

    /// The size of its root disk, which is sparse.
    pub const fn disk_size(self) -> ByteSize {
        ByteSize::from_mib(
            1024 * match self {
                Self::Tiny => 1,
                Self::Small => 2,
                Self::Medium => 8,
                Self::Large => 16,
            },
        )
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;
    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or_else(|| UnknownProfile(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::Profile;

    #[test]
    fn every_profile_reads_back_and_grows() {
        for pair in Profile::ALL.windows(2) {
            assert!(pair[0].memory() < pair[1].memory());
            assert!(pair[0].disk_size() < pair[1].disk_size());
        }
        for profile in Profile::ALL {
            assert_eq!(profile.to_string().parse::<Profile>().unwrap(), profile);
        }
        assert!("huge".parse::<Profile>().is_err());
    }
}
