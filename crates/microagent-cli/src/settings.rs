//! What the global flags mean on this host: the flag over the environment over the default.

use std::path::{Path, PathBuf};

use microagent_types::backend::HostOs;
use microagent_types::env_vars::EnvVar;
use microagent_types::{AbsPath, Arch, BackendName};
use microagent_wire::fault::{Fault, FaultKind};
use microagent_wire::supervisor::request::{Channel, Initiator};
use microagent_workspace::{Context, backend_choice};

use crate::args::GlobalArgs;
use crate::error::{Failure, usage};
use crate::nearest::nearest;

/// Where the state directory is below the user's folder.
const STATE_DIR_DEFAULT: &str = ".microagent";

/// The global flags, resolved where they are needed: `--help` must work without a home folder.
#[derive(Debug)]
pub(crate) struct GlobalSettings {
    state_dir: Option<PathBuf>,
    backend: Option<String>,
    supervisor: Option<PathBuf>,
}

impl GlobalSettings {
    /// The flags as typed.
    pub(crate) fn new(args: &GlobalArgs) -> Self {
        Self {
            state_dir: args.state_dir.clone(),
            backend: args.backend.clone(),
            supervisor: args.supervisor.clone(),
        }
    }

    /// The library's context, for commands that choose a backend.
    pub(crate) fn context(&self) -> Result<Context, Failure> {
        self.context_with(None)
    }

    /// As [`Self::context`], with the backend that a spec file names where nothing else does.
    pub(crate) fn context_with(&self, spec: Option<BackendName>) -> Result<Context, Failure> {
        let mut context = self.base()?;
        let asked = self.backend.clone().or_else(|| EnvVar::Backend.read());
        let asked = asked.or_else(|| spec.map(|backend| backend.to_string()));
        context.backend = asked.as_deref().map(parse_backend).transpose()?;
        Ok(context)
    }

    fn base(&self) -> Result<Context, Failure> {
        let mut context = Context::new(self.state_dir()?).map_err(|error| {
            Fault::new(
                FaultKind::Internal,
                "cannot find the parts of this installation",
            )
            .with_cause(error.to_string())
        })?;
        context.supervisor = self
            .supervisor
            .as_deref()
            .map(|path| absolute(path, "--supervisor").map(PathBuf::from))
            .transpose()?;
        context.initiator = Initiator {
            channel: Channel::Cli,
            subject: None,
        };
        Ok(context)
    }

    /// The library's context, for commands on workspaces that are there: their recorded backend
    /// applies. A flag that names another one is refused there; the variable means nothing.
    pub(crate) fn context_of_existing(&self) -> Result<Context, Failure> {
        let mut context = self.base()?;
        context.backend = self.backend.as_deref().map(parse_backend).transpose()?;
        Ok(context)
    }

    fn state_dir(&self) -> Result<AbsPath, Failure> {
        if let Some(path) = &self.state_dir {
            return absolute(path, "--state-dir");
        }
        if let Some(path) = EnvVar::StateDir.read() {
            return absolute(Path::new(&path), EnvVar::StateDir.name());
        }
        let home = EnvVar::Home.read().or_else(|| EnvVar::UserProfile.read());
        let home = home.ok_or_else(|| {
            Failure::usage(
                "there is no home folder to keep workspaces in",
                "say where: --state-dir DIR, or set HOME",
            )
        })?;
        absolute(
            &Path::new(&home).join(STATE_DIR_DEFAULT),
            EnvVar::Home.name(),
        )
    }
}

/// The backend that was asked for; one that this host can't run is refused here, before anything is
/// looked at.
fn parse_backend(text: &str) -> Result<BackendName, Failure> {
    let (os, arch) = (HostOs::current(), Arch::current());
    let Ok(backend) = text.parse::<BackendName>() else {
        let fault = backend_choice::foreign(text, os, arch);
        let own = backend_choice::candidates_of(os);
        let names = own.iter().map(|name| name.as_str());
        let hint = match (nearest(text, names), &fault.hint) {
            (Some(near), Some(hint)) => format!("did you mean `{near}`? {hint}"),
            (_, hint) => hint.clone().unwrap_or_default(),
        };
        return Err(fault.with_hint(hint).into());
    };
    backend_choice::check_host(backend, os, arch)?;
    Ok(backend)
}

/// A path as typed, made absolute; `given_by` is the flag or variable.
pub(crate) fn absolute(path: &Path, given_by: &str) -> Result<AbsPath, Failure> {
    let refuse = |cause: String| {
        let message = format!(
            "`{}` of {given_by} cannot be used as a path",
            path.display()
        );
        Failure::Command(usage(message, "give an absolute path").with_cause(cause))
    };
    let path = std::path::absolute(path).map_err(|error| refuse(error.to_string()))?;
    AbsPath::try_from(path.as_path()).map_err(|error| refuse(error.to_string()))
}
