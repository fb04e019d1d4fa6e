//! `required.toml`: the options that a guest kernel must have or must not have, each with a reason.
//!
//! It exists because an option is lost by a change far away from it, and a guest then fails in a way
//! that does not name the option. Reading and comparing only; nothing is mended here.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::Arch;
use super::fragments::Options;

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
    /// Reads the file.
    pub(crate) fn read(path: &Path, arch: Arch) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        Self::parse(&text, arch).with_context(|| format!("in `{}`", path.display()))
    }

    fn parse(text: &str, arch: Arch) -> Result<Self> {
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
        let required = Required::parse(TEXT, Arch::Amd64).unwrap();
        let resolved = fragments::parse("CONFIG_EXT4_FS=y\n").unwrap();
        required.check(&resolved).unwrap();
    }

    #[test]
    fn what_is_missing_is_named_with_its_reason() {
        let required = Required::parse(TEXT, Arch::Amd64).unwrap();
        let resolved = fragments::parse("CONFIG_MODULES=y\n").unwrap();
        let text = required.check(&resolved).unwrap_err().to_string();
        assert!(text.contains("EXT4_FS=y is required (the root disk), the configuration has n"));
        assert!(text.contains("MODULES=n is required (everything is built in)"));
    }

    #[test]
    fn an_option_without_a_reason_is_refused() {
        let error = Required::parse("[[option]]\nname = \"A\"\n", Arch::Amd64).unwrap_err();
        assert_eq!(error.to_string(), "option `A` has no `reason`");
    }
}
