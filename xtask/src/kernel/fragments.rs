//! Kernel configuration as values: parsing, merging, comparing.
//!
//! Pure but for reading the fragment files. It must not know which options matter; that is
//! `required.toml`'s part.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// Options without their `CONFIG_` prefix. What is off has the value `n`.
pub(crate) type Options = BTreeMap<String, String>;

/// Merges fragments in order; an option that a later one sets again has the later value.
pub(crate) fn merge(fragments: &[PathBuf]) -> Result<Options> {
    let mut merged = Options::new();
    for path in fragments {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the kernel fragment `{}`", path.display()))?;
        merged.extend(parse(&text).with_context(|| format!("in `{}`", path.display()))?);
    }
    Ok(merged)
}

/// Parses the text of a fragment or of a finished `.config`.
pub(crate) fn parse(text: &str) -> Result<Options> {
    let mut options = Options::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if let Some(name) = line
            .strip_prefix("# CONFIG_")
            .and_then(|rest| rest.strip_suffix(" is not set"))
        {
            options.insert(name.to_owned(), "n".to_owned());
        } else if let Some((name, value)) = line
            .strip_prefix("CONFIG_")
            .and_then(|rest| rest.split_once('='))
        {
            options.insert(name.to_owned(), value.to_owned());
        } else if !line.is_empty() && !line.starts_with('#') {
            bail!(
                "line {} is neither an option nor a comment: {line}",
                index + 1
            );
        }
    }
    Ok(options)
}

/// The text that the kernel's own tools read.
pub(crate) fn text(options: &Options) -> String {
    let line = |(name, value): (&String, &String)| match value.as_str() {
        "n" => format!("# CONFIG_{name} is not set\n"),
        _ => format!("CONFIG_{name}={value}\n"),
    };
    options.iter().map(line).collect::<Vec<_>>().concat()
}

/// What was asked for and has another value after resolving, as `name: asked, got`.
pub(crate) fn dropped(asked: &Options, resolved: &Options) -> Vec<String> {
    asked
        .iter()
        .filter_map(|(name, value)| {
            let got = resolved.get(name).map_or("n", String::as_str);
            (got != value).then(|| format!("{name}: asked for {value}, got {got}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_fragment_wins() {
        let mut merged = parse("CONFIG_A=y\nCONFIG_B=64\n").unwrap();
        merged.extend(parse("# why\n\n# CONFIG_A is not set\n").unwrap());
        assert_eq!(text(&merged), "# CONFIG_A is not set\nCONFIG_B=64\n");
    }

    #[test]
    fn a_line_that_is_no_option_is_named() {
        let error = parse("CONFIG_A=y\nCONFIG_B\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2 is neither an option nor a comment: CONFIG_B"
        );
    }

    #[test]
    fn an_option_that_the_resolver_dropped_is_seen() {
        let asked = parse("CONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\n").unwrap();
        let resolved = parse("CONFIG_A=y\nCONFIG_C=y\n").unwrap();
        assert_eq!(
            dropped(&asked, &resolved),
            ["B: asked for y, got n", "C: asked for n, got y"]
        );
    }
}
