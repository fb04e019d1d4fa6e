//! Tokens: what is asked of the realm that a registry names, and what comes back. Pure.
//!
//! The realm is named by the registry itself, which the credential is for; it is asked over HTTPS
//! unless the registry is spoken to without, and redirects of it never carry the credential on.

use reqwest::Url;
use serde::Deserialize;

use super::auth_file::Credential;

/// Who we say we are to a token service.
const CLIENT: &str = "microagent";
/// The largest answer of a token service.
pub(crate) const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// How to ask for a token.
#[derive(Debug)]
pub(crate) enum Question {
    /// By a GET, with the password where there is one.
    Get {
        url: Url,
        basic: Option<(String, String)>,
    },
    /// By a POST of a form that holds the identity token.
    Post { url: Url, form: String },
}

/// The question for a token that allows reading a repository.
pub(crate) fn question(
    realm: Url,
    service: Option<&str>,
    scope: Option<&str>,
    repository: &str,
    credential: Option<&Credential>,
) -> Question {
    let scope = scope.map_or_else(
        || format!("repository:{repository}:pull"),
        ToOwned::to_owned,
    );
    if let Some(Credential::Identity(token)) = credential {
        let mut form = realm.clone();
        form.set_query(None);
        let mut pairs = form.query_pairs_mut();
        pairs.append_pair("grant_type", "refresh_token");
        if let Some(service) = service {
            pairs.append_pair("service", service);
        }
        pairs
            .append_pair("client_id", CLIENT)
            .append_pair("scope", &scope)
            .append_pair("refresh_token", token);
        drop(pairs);
        let form = form.query().unwrap_or_default().to_owned();
        return Question::Post { url: realm, form };
    }
    let mut url = realm;
    let mut pairs = url.query_pairs_mut();
    if let Some(service) = service {
        pairs.append_pair("service", service);
    }
    pairs.append_pair("scope", &scope);
    let basic = match credential {
        Some(Credential::Password { user, password }) => {
            pairs.append_pair("account", user);
            Some((user.clone(), password.clone()))
        }
        _ => None,
    };
    drop(pairs);
    Question::Get { url, basic }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// The token in an answer.
pub(crate) fn answer(bytes: &[u8]) -> Option<String> {
    let answer: Answer = serde_json::from_slice(bytes).ok()?;
    answer
        .token
        .or(answer.access_token)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm() -> Url {
        Url::parse("https://auth.example/token").unwrap()
    }

    #[test]
    fn a_password_goes_into_a_header_and_never_into_the_address() {
        let credential = Credential::Password {
            user: "me".into(),
            password: "secret".into(),
        };
        let asked = question(realm(), Some("r"), None, "team/tool", Some(&credential));
        let Question::Get { url, basic } = asked else {
            panic!("a password is no form");
        };
        assert_eq!(
            url.as_str(),
            "https://auth.example/token?service=r&scope=repository%3Ateam%2Ftool%3Apull&account=me"
        );
        assert_eq!(basic, Some(("me".into(), "secret".into())));
    }

    #[test]
    fn an_identity_token_is_posted() {
        let credential = Credential::Identity("id&x".into());
        let asked = question(realm(), None, Some("s"), "a", Some(&credential));
        let Question::Post { url, form } = asked else {
            panic!("an identity token is a form");
        };
        assert_eq!(url, realm());
        assert_eq!(
            form,
            "grant_type=refresh_token&client_id=microagent&scope=s&refresh_token=id%26x"
        );
    }

    #[test]
    fn both_spellings_of_a_token_are_read() {
        assert_eq!(answer(br#"{"token":"a"}"#), Some("a".into()));
        assert_eq!(
            answer(br#"{"access_token":"b","expires_in":1}"#),
            Some("b".into())
        );
        for bad in [&b""[..], b"{}", br#"{"token":""}"#, b"[]"] {
            assert_eq!(answer(bad), None);
        }
    }
}
