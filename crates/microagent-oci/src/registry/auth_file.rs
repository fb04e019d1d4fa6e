//! The login files of podman and Docker, read and never written. Pure.
//!
//! Both have the same form: `auths` holds credentials by registry (podman also by a folder below
//! one), `credHelpers` names a program for one registry, `credsStore` one for all the others.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

const DOCKER: &str = "docker.io";
/// What Docker calls its own registry in its files and to its helpers.
pub(crate) const DOCKER_KEY: &str = "https://index.docker.io/v1/";

/// What proves who we are. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// For basic authentication, and to ask for a token.
    Password { user: String, password: String },
    /// A long-lived token that is exchanged for short ones.
    Identity(String),
    /// A token that is shown to the registry as it is.
    Registry(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credential(not shown)")
    }
}

/// Where a file says that a credential is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Here it is.
    Here(Credential),
    /// A program has it, under this key.
    Helper {
        name: String,
        key: String,
        whose: HelperOf,
    },
}

/// For whom a helper was configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HelperOf {
    /// For this registry: without it there is no way.
    ThisRegistry,
    /// For whatever has no other: it may know nothing, or be gone.
    Everything,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AuthFile {
    auths: BTreeMap<String, AuthEntry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AuthEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl AuthFile {
    /// Parses a file; the problem names no content.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| {
            format!(
                "it is not readable at line {}, column {}",
                error.line(),
                error.column()
            )
        })
    }

    /// Where the credentials for a repository may be, best first.
    pub(crate) fn find(&self, registry: &str, repository: &str) -> Result<Vec<Entry>, String> {
        let mut found = Vec::new();
        if let Some((key, name)) = self
            .cred_helpers
            .iter()
            .find(|(key, _)| place_of(key) == registry)
        {
            found.push(Entry::Helper {
                name: name.clone(),
                key: helper_key(key, registry),
                whose: HelperOf::ThisRegistry,
            });
        }
        // `registry/team/tool`, then `registry/team`, then `registry`.
        let mut place = format!("{registry}/{repository}");
        loop {
            if let Some((_, entry)) = self.auths.iter().find(|(key, _)| place_of(key) == place)
                && let Some(credential) = entry.credential()?
            {
                found.push(Entry::Here(credential));
                break;
            }
            match place.rfind('/') {
                Some(at) => place.truncate(at),
                None => break,
            }
        }
        if let Some(name) = self.creds_store.as_ref().filter(|name| !name.is_empty()) {
            found.push(Entry::Helper {
                name: name.clone(),
                key: helper_key(registry, registry),
                whose: HelperOf::Everything,
            });
        }
        Ok(found)
    }
}

impl AuthEntry {
    fn credential(&self) -> Result<Option<Credential>, String> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Credential::Identity(token)));
        }
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(Credential::Registry(token)));
        }
        if let Some(auth) = given(&self.auth) {
            let problem = || "an `auth` in it is not base64 of `user:password`".to_owned();
            let bytes = STANDARD.decode(auth.trim()).map_err(|_| problem())?;
            let text = String::from_utf8(bytes).map_err(|_| problem())?;
            let (user, password) = text
                .trim_end_matches('\0')
                .split_once(':')
                .ok_or_else(problem)?;
            return Ok(Some(Credential::Password {
                user: user.to_owned(),
                password: password.to_owned(),
            }));
        }
        Ok(match (given(&self.username), given(&self.password)) {
            (Some(user), Some(password)) => Some(Credential::Password { user, password }),
            _ => None,
        })
    }
}

/// The registry, or folder of one, that a key stands for: `https://ghcr.io/v2/` is `ghcr.io`.
fn place_of(key: &str) -> String {
    let bare = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key)
        .trim_end_matches('/');
    let bare = bare
        .strip_suffix("/v1")
        .or_else(|| bare.strip_suffix("/v2"))
        .unwrap_or(bare);
    let (host, rest) = match bare.split_once('/') {
        Some((host, rest)) => (host, Some(rest)),
        None => (bare, None),
    };
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER,
        host => host,
    };
    rest.map_or_else(|| host.to_owned(), |rest| format!("{host}/{rest}"))
}

/// What a helper is asked for.
fn helper_key(key: &str, registry: &str) -> String {
    if registry == DOCKER {
        DOCKER_KEY.to_owned()
    } else {
        key.to_owned()
    }
}

/// What a helper prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// The user name that marks an identity token.
const TOKEN_USER: &str = "<token>";

/// The credential in what a helper printed, or nothing when it is not understood.
pub(crate) fn helper_answer(stdout: &[u8]) -> Option<Credential> {
    let answer: HelperAnswer = serde_json::from_slice(stdout).ok()?;
    Some(if answer.username == TOKEN_USER {
        Credential::Identity(answer.secret)
    } else {
        Credential::Password {
            user: answer.username,
            password: answer.secret,
        }
    })
}

/// Whether a name may become the name of a program.
pub(crate) fn is_helper_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Entry {
        Entry::Here(Credential::Password {
            user: user.into(),
            password: password.into(),
        })
    }

    fn find(file: &str, registry: &str, repository: &str) -> Vec<Entry> {
        AuthFile::parse(file.as_bytes())
            .unwrap()
            .find(registry, repository)
            .unwrap()
    }

    // user:pw and team:secret
    const FILE: &str = r#"{"auths":{
        "https://index.docker.io/v1/":{"auth":"dXNlcjpwdw=="},
        "ghcr.io":{"identitytoken":"t"},
        "r.example:5000/team":{"auth":"dGVhbTpzZWNyZXQ="},
        "r.example:5000":{"username":"u","password":"p"},
        "empty.example":{}},
        "credHelpers":{"helped.example":"pass"},"credsStore":"desktop","HttpHeaders":{"a":"b"}}"#;

    fn store(key: &str) -> Entry {
        Entry::Helper {
            name: "desktop".into(),
            key: key.into(),
            whose: HelperOf::Everything,
        }
    }

    #[test]
    fn the_nearest_entry_of_a_file_wins() {
        let docker = find(FILE, "docker.io", "library/debian");
        assert_eq!(docker, [password("user", "pw"), store(DOCKER_KEY)]);
        let identity = Entry::Here(Credential::Identity("t".into()));
        assert_eq!(
            find(FILE, "ghcr.io", "org/app"),
            [identity, store("ghcr.io")]
        );
        let host = "r.example:5000";
        let team = password("team", "secret");
        assert_eq!(find(FILE, host, "team/tool"), [team, store(host)]);
        let teamwork = find(FILE, host, "teamwork/tool");
        assert_eq!(teamwork, [password("u", "p"), store(host)]);
        assert_eq!(find(FILE, "empty.example", "a"), [store("empty.example")]);
        let helper = Entry::Helper {
            name: "pass".into(),
            key: "helped.example".into(),
            whose: HelperOf::ThisRegistry,
        };
        assert_eq!(
            find(FILE, "helped.example", "a"),
            [helper, store("helped.example")]
        );
        assert_eq!(find("{}", "ghcr.io", "a"), []);
    }

    #[test]
    fn another_host_never_gets_what_is_for_one() {
        let file = r#"{"auths":{"r.example":{"auth":"dXNlcjpwdw=="}}}"#;
        for other in [
            "r.example:5000",
            "r.example.evil",
            "evil-r.example",
            "docker.io",
        ] {
            assert_eq!(find(file, other, "a"), [], "{other}");
        }
    }

    #[test]
    fn what_is_damaged_is_said_without_being_shown() {
        let bad = r#"{"auths":{"r.example":{"auth":"c2VjcmV0"}}}"#;
        let problem = AuthFile::parse(bad.as_bytes())
            .unwrap()
            .find("r.example", "a")
            .unwrap_err();
        assert!(!problem.contains("secret") && !problem.contains("c2Vj"));
        assert!(AuthFile::parse(b"{\"auths\": secret").is_err_and(|p| !p.contains("secret")));
        let shown = format!("{:?}", password("user", "hidden"));
        assert!(!shown.contains("hidden"));
    }

    #[test]
    fn a_helper_answers_with_a_password_or_a_token() {
        let token = br#"{"ServerURL":"x","Username":"<token>","Secret":"s"}"#;
        assert_eq!(helper_answer(token), Some(Credential::Identity("s".into())));
        assert_eq!(helper_answer(b"credentials not found"), None);
        assert!(is_helper_name("osxkeychain") && is_helper_name("ecr-login"));
        for name in ["", "../x", "a b", "A", "x/y"] {
            assert!(!is_helper_name(name), "{name}");
        }
    }
}
