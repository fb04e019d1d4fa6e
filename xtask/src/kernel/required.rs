//! `required.toml`: the options that a guest kernel must have or must not have, each with a reason;
//! some for one architecture only (`arch`), some for certain backends (`backends`).
//!
//! It exists because an option is lost by a change far away from it, and a guest then fails in a way
//! that does not name the option. Reading and comparing only; nothing is mended here.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::fragments::Options;
use super::{Arch, Backend};

/// The requirements of one architecture.
#[derive(Debug)]
pub(crate) struct Required {
    options: Vec<Requirement>,
}

#[derive(Debug)]
struct Requirement {
    name: String,
    value: String,
    reason: String,
}

impl Required {
    /// Reads the file. Without a backend, what only some backends require is left out.
    pub(crate) fn read(path: &Path, arch: Arch, backend: Option<Backend>) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        Self::parse(&text, arch, backend).with_context(|| format!("in `{}`", path.display()))
    }

    fn parse(text: &str, arch: Arch, backend: Option<Backend>) -> Result<Self> {
        let table: toml::Table = text.parse()?;
        let entries = table
            .get("option")
            .and_then(toml::Value::as_array)
            .context("there is no [[option]]")?;
        let mut options = Vec::new();
        for entry in entries {
            let field = |name: &str| entry.get(name).and_then(toml::Value::as_str);
            let name = field("name").context("an [[option]] has no `name`")?;
            let reason =
                field("reason").with_context(|| format!("option `{name}` has no `reason`"))?;
            if field("arch").is_some_and(|only| only != arch.name()) {
                continue;
            }
            if let Some(only) = entry.get("backends")
                && !names(only, name)?.any(|name| backend.is_some_and(|own| own.name() == name))
            {
                continue;
            }
            options.push(Requirement {
                name: name.to_owned(),
                value: field("value").unwrap_or("y").to_owned(),
                reason: reason.to_owned(),
            });
        }
        Ok(Self { options })
    }

    /// Compares with a finished configuration; the error names every difference and its reason.
    pub(crate) fn check(&self, resolved: &Options) -> Result<()> {
        let mut missing = Vec::new();
        for option in &self.options {
            let got = resolved.get(&option.name).map_or("n", String::as_str);
            if got != option.value {
                missing.push(format!(
                    "\n  {}={} is required ({}), the configuration has {got}",
                    option.name, option.value, option.reason
                ));
            }
        }
        if !missing.is_empty() {
            bail!(
                "the kernel configuration lacks required options:{}",
                missing.concat()
            );
        }
        Ok(())
    }

    /// Whether an option is set to something other than what is required of it.
    #[cfg(test)]
    pub(crate) fn contradicts(&self, options: &Options) -> bool {
        self.options.iter().any(|required| {
            options
                .get(&required.name)
                .is_some_and(|value| *value != required.value)
        })
    }
}

/// The backends that an option is required for.
fn names<'a>(list: &'a toml::Value, option: &str) -> Result<impl Iterator<Item = &'a str>> {
    let known = |name: &str| Backend::ALL.iter().any(|backend| backend.name() == name);
    let names = list.as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(toml::Value::as_str).collect();
    if names.is_empty() || !names.iter().all(|name| known(name)) {
        bail!("`backends` of option `{option}` must list names of backends");
    }
    Ok(names.into_iter())
}

#[cfg(test)]
mod tests {
    use super::super::fragments;
    use super::*;

    const TEXT: &str = r#"
        [[option]]
        name = "EXT4_FS"
        reason = "the root disk"
        [[option]]
        name = "MODULES"
        value = "n"
        reason = "everything is built in"
    "#;

    #[test]
    fn what_is_there_passes() {
        let required = Required::parse(TEXT, Arch::Amd64, None).unwrap();
        let resolved = fragments::parse("CONFIG_EXT4_FS=y\n").unwrap();
        required.check(&resolved).unwrap();
    }

    #[test]
    fn what_is_missing_is_named_with_its_reason() {
        let required = Required::parse(TEXT, Arch::Amd64, None).unwrap();
        let resolved = fragments::parse("CONFIG_MODULES=y\n").unwrap();
        let text = required.check(&resolved).unwrap_err().to_string();
        assert!(text.contains("EXT4_FS=y is required (the root disk), the configuration has n"));
        assert!(text.contains("MODULES=n is required (everything is built in)"));
    }

    #[test]
    fn an_option_without_a_reason_is_refused() {
        let error = Required::parse("[[option]]\nname = \"A\"\n", Arch::Amd64, None).unwrap_err();
        assert_eq!(error.to_string(), "option `A` has no `reason`");
    }

    #[test]
    fn what_one_backend_requires_is_nothing_to_the_others() {
        let text = "[[option]]\nname = \"PCI\"\nbackends = [\"apple-vf\"]\nreason = \"its bus\"\n";
        let required = |backend| Required::parse(text, Arch::Arm64, backend).unwrap();
        let nothing = Options::new();
        required(Some(Backend::AppleVf))
            .check(&nothing)
            .unwrap_err();
        required(Some(Backend::Qemu)).check(&nothing).unwrap();
        required(None).check(&nothing).unwrap();
    }

    #[test]
    fn a_misspelt_backend_is_refused() {
        let text = "[[option]]\nname = \"PCI\"\nbackends = [\"apple\"]\nreason = \"its bus\"\n";
        let error = Required::parse(text, Arch::Arm64, None).unwrap_err();
        assert!(error.to_string().contains("`PCI`"), "{error}");
    }
}
