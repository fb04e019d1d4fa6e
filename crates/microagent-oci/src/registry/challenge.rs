//! What a registry wants to see: the `WWW-Authenticate` header. Pure.

/// How it wants to be convinced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token from somewhere.
    Bearer {
        /// Where tokens are given.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// For what; usually left to us.
        scope: Option<String>,
    },
}

/// The first challenge of the headers that we can meet; a token is preferred.
pub fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers {
        let header = header.trim();
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer") {
            let mut realm = None;
            let (mut service, mut scope) = (None, None);
            for (key, value) in parameters(rest) {
                match key.to_ascii_lowercase().as_str() {
                    "realm" => realm = Some(value),
                    "service" => service = Some(value),
                    "scope" => scope = Some(value),
                    _ => {}
                }
            }
            if let Some(realm) = realm {
                return Some(Challenge::Bearer {
                    realm,
                    service,
                    scope,
                });
            }
        }
    }
    basic
}

/// `key="value"` pairs, separated by commas; a value may be quoted and hold commas then.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim().trim_start_matches(',').trim().to_owned();
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        pairs.push((key, value));
        rest = next;
    }
    pairs
}

fn unquoted(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
        }
    }

    #[test]
    fn real_headers_are_understood() {
        assert_eq!(
            parse([
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/debian:pull,push""#
            ]),
            Some(bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:library/debian:pull,push")
            ))
        );
        assert_eq!(
            parse([r#"Basic realm="Registry Realm""#]),
            Some(Challenge::Basic)
        );
        assert_eq!(
            parse(["basic", "bearer realm=https://a/t, service=x"]),
            Some(bearer("https://a/t", Some("x"), None))
        );
        assert_eq!(
            parse([r#"Bearer realm="a\"b""#]),
            Some(bearer("a\"b", None, None))
        );
    }

    #[test]
    fn what_is_not_known_is_none_and_nothing_panics() {
        for header in [
            "",
            "Negotiate",
            "Bearer",
            "Bearer realm",
            "Bearer =",
            r#"Bearer service="x"#,
            "Digest realm=\"x\"",
        ] {
            assert_eq!(parse([header]), None, "{header}");
        }
        assert_eq!(parse(["Bearer realm=\"é\\"]), Some(bearer("é", None, None)));
    }
}
