//! What runs: the image's entrypoint and command, and what the caller put in their place. Pure.

use crate::profile::Profile;
use microagent_oci::ImageConfig;
use microagent_types::{EnvName, Environment, GuestPath, InvalidText, SignalName};

/// What a caller says about the workload; what is left out comes from the image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkloadSettings {
    /// In place of the image's command.
    pub command: Vec<String>,
    /// In place of the image's entrypoint, whose command is dropped with it; empty clears it.
    pub entrypoint: Option<Vec<String>>,
    /// Over the image's environment.
    pub env: Environment,
    /// In place of the image's user.
    pub user: Option<String>,
    /// In place of the image's working directory.
    pub workdir: Option<GuestPath>,
    /// In place of the image's stop signal.
    pub stop_signal: Option<SignalName>,
}

/// What runs, with everything filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The program and its arguments; empty when neither image nor caller names one.
    pub argv: Vec<String>,
    /// Its environment.
    pub env: Environment,
    /// Its user, resolved in the guest; root when none.
    pub user: Option<String>,
    /// Its folder; `/` when none.
    pub workdir: Option<GuestPath>,
    /// What asks it to stop.
    pub stop_signal: SignalName,
}

/// A value of an image's configuration that no guest could use.
#[derive(Debug, thiserror::Error)]
#[error("the image's {field} cannot be used")]
pub struct ImageValueError {
    /// Which value.
    pub field: &'static str,
    /// Why.
    pub source: InvalidText,
}

/// Merges what the caller said over what the image says.
///
/// # Errors
/// When a value of the image is needed and makes no sense.
pub fn merge(
    image: &ImageConfig,
    settings: &WorkloadSettings,
) -> Result<Workload, ImageValueError> {
    let (entrypoint, command) = match (&settings.entrypoint, settings.command.is_empty()) {
        (Some(entrypoint), _) => (entrypoint, &settings.command),
        (None, true) => (&image.entrypoint, &image.command),
        (None, false) => (&image.entrypoint, &settings.command),
    };
    let argv = entrypoint.iter().chain(command).cloned().collect();

    let mut env = image_environment(&image.env)?;
    env.merge(&settings.env).map_err(|source| ImageValueError {
        field: "environment",
        source,
    })?;

    let user = settings
        .user
        .clone()
        .or_else(|| non_empty(image.user.as_deref()));
    let workdir = match (&settings.workdir, non_empty(image.workdir.as_deref())) {
        (Some(workdir), _) => Some(workdir.clone()),
        (None, Some(text)) => Some(
            // Images say `app` and mean `/app`: container engines resolve it against the root.
            format!("/{}", text.trim_start_matches('/'))
                .parse()
                .map_err(|source| ImageValueError {
                    field: "working directory",
                    source,
                })?,
        ),
        (None, None) => None,
    };
    let stop_signal = match (
        settings.stop_signal,
        non_empty(image.stop_signal.as_deref()),
    ) {
        (Some(signal), _) => signal,
        (None, Some(text)) => text.parse().map_err(|source| ImageValueError {
            field: "stop signal",
            source,
        })?,
        (None, None) => SignalName::TERM,
    };
    Ok(Workload {
        argv,
        env,
        user,
        workdir,
        stop_signal,
    })
}

fn image_environment(lines: &[String]) -> Result<Environment, ImageValueError> {
    let mut environment = Environment::new();
    for line in lines {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        // A name that no shell could set is of no use to a program either; engines pass it, we don't.
        let Ok(name) = name.parse::<EnvName>() else {
            continue;
        };
        environment
            .set(name, value.to_owned())
            .map_err(|source| ImageValueError {
                field: "environment",
                source,
            })?;
    }
    Ok(environment)
}

fn non_empty(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Whether a command line is a bare shell: with no input it ends at once, which puzzles people.
pub fn is_bare_shell(argv: &[String]) -> bool {
    const SHELLS: [&str; 6] = ["sh", "bash", "ash", "dash", "zsh", "fish"];
    match argv {
        [program] => SHELLS.contains(&program.rsplit('/').next().unwrap_or_default()),
        _ => false,
    }
}

/// How large a workspace is: a profile, and what was said over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SizeSettings {
    /// The profile, recorded.
    pub profile: Profile,
    /// In place of the profile's memory.
    pub memory: Option<microagent_types::ByteSize>,
    /// In place of the profile's CPUs.
    pub cpus: Option<microagent_types::VcpuCount>,
    /// In place of the profile's root disk.
    pub disk: Option<microagent_types::ByteSize>,
}

impl SizeSettings {
    /// The size of the root disk.
    pub fn disk_size(&self) -> microagent_types::ByteSize {
        self.disk.unwrap_or_else(|| self.profile.disk_size())
    }
}

#[cfg(test)]
mod tests {
    use super::{WorkloadSettings, is_bare_shell, merge};
    use microagent_oci::ImageConfig;
    use microagent_types::SignalName;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn image() -> ImageConfig {
        ImageConfig {
            entrypoint: words("/entry --flag"),
            command: words("serve"),
            env: vec!["PATH=/bin".into(), "A=1=2".into(), "BAD NAME=x".into()],
            user: Some("app:app".into()),
            workdir: Some("srv".into()),
            stop_signal: Some("SIGQUIT".into()),
            ..ImageConfig::default()
        }
    }

    #[test]
    fn the_image_speaks_where_the_caller_is_silent() {
        let workload = merge(&image(), &WorkloadSettings::default()).unwrap();
        assert_eq!(workload.argv, words("/entry --flag serve"));
        assert_eq!(workload.env.get("A"), Some("1=2"));
        assert_eq!(workload.env.len(), 2);
        assert_eq!(workload.user.as_deref(), Some("app:app"));
        assert_eq!(workload.workdir.unwrap().as_str(), "/srv");
        assert_eq!(workload.stop_signal.number(), 3);
    }

    #[test]
    fn a_command_replaces_the_command_and_an_entrypoint_replaces_both() {
        let settings = WorkloadSettings {
            command: words("test -x"),
            ..WorkloadSettings::default()
        };
        assert_eq!(
            merge(&image(), &settings).unwrap().argv,
            words("/entry --flag test -x")
        );
        let settings = WorkloadSettings {
            entrypoint: Some(words("/other")),
            ..WorkloadSettings::default()
        };
        assert_eq!(merge(&image(), &settings).unwrap().argv, words("/other"));
        let settings = WorkloadSettings {
            entrypoint: Some(Vec::new()),
            command: words("ls"),
            ..WorkloadSettings::default()
        };
        assert_eq!(merge(&image(), &settings).unwrap().argv, words("ls"));
    }

    #[test]
    fn the_callers_values_win() {
        let mut settings = WorkloadSettings {
            user: Some("0".into()),
            stop_signal: Some(SignalName::KILL),
            ..WorkloadSettings::default()
        };
        settings
            .env
            .set("A".parse().unwrap(), "mine".into())
            .unwrap();
        let workload = merge(&image(), &settings).unwrap();
        assert_eq!(workload.env.get("A"), Some("mine"));
        assert_eq!(workload.user.as_deref(), Some("0"));
        assert_eq!(workload.stop_signal, SignalName::KILL);
    }

    #[test]
    fn a_stop_signal_that_is_none_is_named() {
        let image = ImageConfig {
            stop_signal: Some("SIGNOPE".into()),
            ..ImageConfig::default()
        };
        let error = merge(&image, &WorkloadSettings::default()).unwrap_err();
        assert_eq!(error.field, "stop signal");
    }

    #[test]
    fn only_a_shell_without_arguments_is_bare() {
        assert!(is_bare_shell(&words("/bin/bash")));
        assert!(is_bare_shell(&words("sh")));
        assert!(!is_bare_shell(&words("sh -c x")));
        assert!(!is_bare_shell(&words("python3")));
    }
}
