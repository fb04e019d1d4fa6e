//! Measures the product beside a reference, interleaved in one run, and prints ratios.
//!
//! `microagent-bench [--check] [--rounds N] [CASE…]`. Ratios travel between machines, milliseconds
//! don't; so the ratio comes first, with its spread, and the absolute figures behind it. With `--check`
//! a ratio above its limit in `limits.toml` is code 1. It must not tune what it measures: the product is
//! the installed one, and what it does not offer as a command yet is called in a process of its own.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that measures from outside and prints what it found"
)]

mod arguments;
mod bare_vsock;
mod bench;
mod cases;
mod compare;
mod heading;
mod limits;
mod raw_firecracker;
mod raw_qemu;
mod sample_image;

use anyhow::{Context as _, Result};
use arguments::Arguments;
use bench::Bench;
use std::path::PathBuf;
use std::process::ExitCode;

/// Where the product is installed.
const PREFIX_VARIABLE: &str = "MICROAGENT_BENCH_PREFIX";

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = cases::image_build::as_child(&words)? {
        return Ok(code);
    }
    if let Some(code) = cases::image_decompress::as_child(&words)? {
        return Ok(code);
    }
    let arguments = Arguments::parse(&words, &cases::names())?;
    let prefix = std::env::var_os(PREFIX_VARIABLE)
        .map(PathBuf::from)
        .with_context(|| format!("{PREFIX_VARIABLE} is not set; run: cargo xtask bench"))?;
    let bench = Bench::new(prefix, arguments.rounds)?;
    print!("{}", heading::text(&bench));
    let limits = limits::Limits::read()?;
    let mut passed_over = Vec::new();
    for case in cases::chosen(&arguments.cases) {
        let report = (case.run)(&bench).with_context(|| format!("the case `{}`", case.name))?;
        let verdicts = limits.judge(case.name, &report);
        print!("{}", report.text(case.name, &verdicts));
        passed_over.extend(verdicts.into_iter().filter(|verdict| !verdict.holds));
    }
    if arguments.check && !passed_over.is_empty() {
        println!("{} limits are passed over", passed_over.len());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
