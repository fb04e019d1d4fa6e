//! `cargo xtask fuzz [--seconds N] [TARGET…]`: looks for inputs that break what reads strangers' bytes.
//!
//! The targets are those of `cargo fuzz` (`fuzz/`), and that works too. This chore needs neither it
//! nor a nightly compiler: the compiler's coverage pass is not tied to one, and a sanitizer has nothing
//! to find in parsers without `unsafe`. What is found on the way stays in the target folder; an input
//! that broke something is written to `fuzz/artifacts`, and belongs into `fuzz/corpus` with its mend,
//! where a test runs it ever after. It must not write into the corpus itself.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::places::Places;
use crate::shell::{self, Run};

/// Every target; the file of a target is `fuzz/fuzz_targets/<name>.rs`.
const TARGETS: [&str; 6] = ["reference", "document", "tar", "image", "frames", "list"];
/// What libFuzzer needs to see of a program.
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// More than any of these parsers may hold.
const MEMORY_MIB_MAX: u32 = 512;
/// Longer than this for one input is a hang.
const INPUT_SECONDS_MAX: u32 = 10;
/// Enough for an archive of a dozen entries.
const INPUT_BYTES_MAX: u32 = 16 << 10;

/// Arguments of the chore.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How long to look, for each target
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Which targets; all of them when left out
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// Runs the chore.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let places = Places::find()?;
    let targets = chosen(&arguments.targets)?;
    let host = host_triple()?;
    let folder = places.target.join("fuzz");
    // Named, so that build scripts and macros are built without the coverage pass.
    Run::new(shell::cargo())
        .args(["build", "--release", "--bins", "--target", &host])
        .arg("--manifest-path")
        .arg(places.root.join("fuzz/Cargo.toml"))
        .env("CARGO_TARGET_DIR", &folder)
        .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\x1f"))
        .ok()?;
    for target in targets {
        let found = folder.join("found").join(target);
        let artifacts = places.root.join("fuzz/artifacts").join(target);
        for folder in [&found, &artifacts] {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make `{}`", folder.display()))?;
        }
        eprintln!("fuzzing {target} for {} s", arguments.seconds);
        Run::new(folder.join(&host).join("release").join(target))
            .arg(format!("-max_total_time={}", arguments.seconds))
            .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-print_final_stats=1", "-verbosity=0"])
            .arg(&found)
            .arg(places.root.join("fuzz/corpus").join(target))
            .ok()
            .with_context(|| {
                format!(
                    "`{target}` broke; the input is the newest file in `{}`",
                    artifacts.display()
                )
            })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn chosen(given: &[String]) -> Result<Vec<&'static str>> {
    if given.is_empty() {
        return Ok(TARGETS.to_vec());
    }
    let find = |name: &String| TARGETS.into_iter().find(|target| target == name);
    given
        .iter()
        .map(|name| {
            find(name).with_context(|| {
                format!("there is no target `{name}`, only {}", TARGETS.join(", "))
            })
        })
        .collect()
}

fn host_triple() -> Result<String> {
    let output = std::process::Command::new("rustc")
        .arg("-vV")
        .output()
        .context("cannot start `rustc`")?;
    let text = String::from_utf8(output.stdout).context("`rustc -vV` writes no text")?;
    let Some(host) = text.lines().find_map(|line| line.strip_prefix("host: ")) else {
        bail!("`rustc -vV` names no host");
    };
    Ok(host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_files_that_are_there() {
        let places = Places::find().unwrap();
        for kind in ["fuzz_targets", "checks", "corpus"] {
            for target in TARGETS {
                let name = if kind == "corpus" {
                    target.to_owned()
                } else {
                    format!("{target}.rs")
                };
                let path = places.root.join("fuzz").join(kind).join(name);
                assert!(path.exists(), "{}", path.display());
            }
        }
        let files = std::fs::read_dir(places.root.join("fuzz/fuzz_targets")).unwrap();
        assert_eq!(files.count(), TARGETS.len());
    }

    #[test]
    fn an_unknown_target_is_refused_by_name() {
        let error = chosen(&["tra".to_owned()]).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no target `tra`, only reference, document, tar, image, frames, list"
        );
        assert_eq!(chosen(&["tar".to_owned()]).unwrap(), ["tar"]);
    }
}
