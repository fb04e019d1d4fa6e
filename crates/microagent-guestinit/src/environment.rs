//! The environment of a process and where its program is looked for. Pure.

use crate::accounts::Account;
use microagent_types::Environment;

/// Where programs are when nobody says otherwise.
pub const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an environment is made of, weakest first.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// The boot spec's.
    pub base: &'a Environment,
    /// The request's.
    pub over: &'a Environment,
    /// Who runs.
    pub account: &'a Account,
    /// The guest's name.
    pub hostname: &'a str,
    /// What kind of terminal there is; none without one.
    pub term: Option<&'a str>,
    /// The mediation port, when there is a channel.
    pub mediation_port: Option<&'a str>,
}

/// The variables, each once. What an image or a caller set is kept, even when empty.
pub fn assemble(layers: Layers<'_>) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = vec![("PATH".into(), PATH_DEFAULT.into())];
    let mut set = |name: &str, value: &str| match variables.iter_mut().find(|(key, _)| key == name)
    {
        Some((_, old)) => value.clone_into(old),
        None => variables.push((name.to_owned(), value.to_owned())),
    };
    if let Some(port) = layers.mediation_port {
        set(
            microagent_wire::guest::service::MEDIATION_PORT_VARIABLE,
            port,
        );
    }
    for (name, value) in layers.base.iter().chain(layers.over.iter()) {
        set(name.as_str(), value);
    }
    let defaults = [
        ("HOME", Some(layers.account.home.as_str())),
        ("USER", Some(layers.account.name.as_str())),
        ("HOSTNAME", Some(layers.hostname)),
        ("TERM", layers.term),
    ];
    for (name, value) in defaults {
        if let Some(value) = value
            && !variables.iter().any(|(key, _)| key == name)
        {
            variables.push((name.to_owned(), value.to_owned()));
        }
    }
    variables
}

/// The files to try for a program's name, in order: the name itself when it holds a slash, else one
/// in each folder of `PATH`. An empty folder is the current one, as in every shell.
pub fn program_candidates(program: &str, variables: &[(String, String)]) -> Vec<String> {
    if program.contains('/') || program.is_empty() {
        return vec![program.to_owned()];
    }
    let path = variables
        .iter()
        .find(|(name, _)| name == "PATH")
        .map_or(PATH_DEFAULT, |(_, value)| value.as_str());
    path.split(':')
        .map(|folder| match folder {
            "" => format!("./{program}"),
            folder => format!("{folder}/{program}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Layers, PATH_DEFAULT, assemble, program_candidates};
    use crate::accounts::{UserSpec, resolve};
    use microagent_types::Environment;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let mut environment = Environment::new();
        for (name, value) in pairs {
            environment
                .set(name.parse().unwrap(), (*value).to_owned())
                .unwrap();
        }
        environment
    }

    fn assembled(base: &[(&str, &str)], over: &[(&str, &str)]) -> Vec<(String, String)> {
        assemble(Layers {
            base: &environment(base),
            over: &environment(over),
            account: &resolve(UserSpec::new("0"), b"root:x:0:0::/root:/bin/sh", b"").unwrap(),
            hostname: "box",
            term: Some("xterm"),
            mediation_port: Some("5000"),
        })
    }

    fn value<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a str> {
        let mut found = variables.iter().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands twice");
        value
    }

    #[test]
    fn the_request_wins_over_the_boot_spec_and_both_over_defaults() {
        let variables = assembled(
            &[("A", "base"), ("B", "base"), ("HOME", "/srv")],
            &[("B", "over"), ("TERM", "")],
        );
        assert_eq!(value(&variables, "A"), Some("base"));
        assert_eq!(value(&variables, "B"), Some("over"));
        assert_eq!(value(&variables, "HOME"), Some("/srv"));
        assert_eq!(value(&variables, "TERM"), Some(""));
        assert_eq!(value(&variables, "USER"), Some("root"));
        assert_eq!(value(&variables, "HOSTNAME"), Some("box"));
        assert_eq!(value(&variables, "PATH"), Some(PATH_DEFAULT));
        assert_eq!(value(&variables, "MICROAGENT_MEDIATION_PORT"), Some("5000"));
    }

    #[test]
    fn a_program_is_looked_for_in_the_path_that_it_will_see() {
        let variables = assembled(&[("PATH", "/opt/bin::/bin")], &[]);
        assert_eq!(
            program_candidates("tool", &variables),
            ["/opt/bin/tool", "./tool", "/bin/tool"]
        );
        assert_eq!(program_candidates("./tool", &variables), ["./tool"]);
        assert_eq!(program_candidates("", &variables), [""]);
    }
}
