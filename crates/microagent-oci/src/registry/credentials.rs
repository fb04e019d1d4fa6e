//! Who we are to a registry: the login files in their order, and the programs that they name.

use std::{ffi::OsStr, path::Path, time::Duration};

use microagent_os::{
    fs,
    process::{self, Conversation, ConversationError, Spawn},
};

use super::{
    auth_file::{AuthFile, Credential, Entry, HelperOf, helper_answer, is_helper_name},
    error::RegistryError,
    options::CredentialFiles,
};

const FILE_BYTES_MAX: u64 = 1 << 20;
const HELPER_LIMIT: Duration = Duration::from_secs(10);
const HELPER_BYTES_MAX: usize = 64 << 10;

/// The credential for a repository, or none. Blocks while a helper runs.
pub(crate) fn find(
    files: &CredentialFiles,
    registry: &str,
    repository: &str,
) -> Result<Option<Credential>, RegistryError> {
    if let Some(path) = &files.named {
        let problem = |problem: String| RegistryError::AuthFile {
            path: path.clone(),
            problem,
        };
        let bytes = fs::read_bounded(path, FILE_BYTES_MAX)
            .map_err(|error| problem(error.source.to_string()))?;
        if let Some(found) = in_file(files, path, &bytes, registry, repository)? {
            return Ok(Some(found));
        }
    }
    for path in &files.usual {
        let read = fs::read_bounded_if_present(path, FILE_BYTES_MAX);
        let bytes = read.map_err(|error| RegistryError::AuthFile {
            path: path.clone(),
            problem: error.source.to_string(),
        })?;
        if let Some(bytes) = bytes
            && let Some(found) = in_file(files, path, &bytes, registry, repository)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn in_file(
    files: &CredentialFiles,
    path: &Path,
    bytes: &[u8],
    registry: &str,
    repository: &str,
) -> Result<Option<Credential>, RegistryError> {
    let problem = |problem: String| RegistryError::AuthFile {
        path: path.to_owned(),
        problem,
    };
    let entries = AuthFile::parse(bytes)
        .and_then(|file| file.find(registry, repository))
        .map_err(problem)?;
    for entry in entries {
        match entry {
            Entry::Here(credential) => return Ok(Some(credential)),
            Entry::Helper { name, key, whose } => match (ask(files, &name, &key), whose) {
                (Ok(Some(credential)), _) => return Ok(Some(credential)),
                (Ok(None), _) => {}
                (Err(error), HelperOf::ThisRegistry) => return Err(error),
                // Often a program of another installation; the registry may need no credentials.
                (Err(error), HelperOf::Everything) => {
                    tracing::warn!(%error, "the credential store of the login file is not used");
                }
            },
        }
    }
    Ok(None)
}

/// Asks a helper; it may know nothing.
fn ask(
    files: &CredentialFiles,
    name: &str,
    key: &str,
) -> Result<Option<Credential>, RegistryError> {
    let helper = format!("docker-credential-{}", name.escape_debug());
    let problem = |problem: String| RegistryError::Helper {
        helper: helper.clone(),
        problem,
    };
    if !is_helper_name(name) {
        return Err(problem("has a name that is not allowed".to_owned()));
    }
    let search_path = files.search_path.as_deref().unwrap_or_default();
    let program = process::find_on_path(&helper, OsStr::new(search_path))
        .ok_or_else(|| problem("is not on the search path".to_owned()))?;
    let conversation = Conversation {
        limit: HELPER_LIMIT,
        stdout_bytes_max: HELPER_BYTES_MAX,
        stderr_bytes_max: HELPER_BYTES_MAX,
    };
    let spawn = Spawn::new(program).argument("get").inherit_environment();
    let reply = conversation
        .hold(spawn, key.as_bytes().to_vec())
        .map_err(|error| match error {
            ConversationError::TimedOut { limit, .. } => {
                problem(format!("did not answer within {} s", limit.as_secs()))
            }
            ConversationError::Spawn(_) => problem("cannot be started".to_owned()),
            ConversationError::Talk { .. } => problem("broke off".to_owned()),
        })?;
    if reply.exit.is_success() {
        return helper_answer(&reply.stdout)
            .map(Some)
            .ok_or_else(|| problem("gave an answer that is not readable".to_owned()));
    }
    let said = String::from_utf8_lossy(&reply.stdout);
    if said.contains("credentials not found") {
        return Ok(None);
    }
    Err(problem(format!(
        "failed with code {}",
        reply.exit.shell_code()
    )))
}
