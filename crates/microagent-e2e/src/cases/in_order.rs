//! Streams of one session: all of their bytes, each once, in their order, however many and however small
//! the pieces.

use crate::cases::sessions::running;
use crate::framework::case::{Case, case};
use crate::framework::workspace::NAME;
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};
use microagent_test::cli::Program;
use std::time::Duration;

/// How much goes in and out again; the 4096 take half an hour under emulation.
const MEBIBYTES_VARIABLE: &str = "MICROAGENT_E2E_STREAM_MIB";
const MEBIBYTES: u64 = 64;
/// For so many mebibytes, on a real processor.
const MEBIBYTE_LIMIT: Duration = Duration::from_millis(500);
const START_LIMIT: Duration = Duration::from_secs(30);
const LINES: u64 = 1_000_000;
/// Lines that are written one by one.
const SINGLE_LINES: u64 = 20_000;
const LINES_LIMIT: Duration = Duration::from_mins(1);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "in_order::what_goes_through_a_command_comes_out_as_it_was",
            through,
        ),
        case(
            "in_order::a_million_lines_of_each_stream_keep_their_order",
            lines,
        ),
    ]
}

fn through(world: &World) -> Result<()> {
    let mebibytes: u64 = match std::env::var(MEBIBYTES_VARIABLE) {
        Ok(number) => number.parse().context("the mebibytes are no number")?,
        Err(_) => MEBIBYTES,
    };
    let kept = running(world)?;
    // No part of the numbers is like another. Only hashes are kept on the way.
    let source = format!("seq 1 1000000000000 | head -c {}", mebibytes << 20);
    let program = world.prefix().join("bin/microagent");
    let ours = format!("{} exec -i {NAME} -- cat", program.display());
    let limit = MEBIBYTE_LIMIT * u32::try_from(mebibytes)? + START_LIMIT;
    let hash = |line: &str| -> Result<String> {
        let finished = Program::at("/bin/bash")
            .of(kept.home())
            .args(["-c", &format!("{line} | sha256sum")])
            .limit(world.limit(limit))
            .run()?
            .expect_code(0)?;
        ensure!(finished.stderr.is_empty(), "{}", finished.stderr_text());
        Ok(finished.stdout_text())
    };
    let expected = hash(&source)?;
    let came_out = hash(&format!("{source} | {ours}"))?;
    ensure!(came_out == expected, "{came_out} and not {expected}");
    kept.does(&["kill", NAME])?;
    kept.ends_well()
}

/// Numbers as `seq` prints them.
fn numbers(count: u64) -> Vec<u8> {
    (1..=count)
        .flat_map(|number| format!("{number}\n").into_bytes())
        .collect()
}

fn lines(world: &World) -> Result<()> {
    let kept = running(world)?;
    let both = format!("seq 1 {LINES} & seq 1 {LINES} >&2; wait");
    let single =
        format!("i=0; while [ $i -lt {SINGLE_LINES} ]; do i=$((i+1)); echo $i; echo $i >&2; done");
    for (line, count) in [(both, LINES), (single, SINGLE_LINES)] {
        let finished = kept
            .line(&["exec", NAME, "--", "sh", "-c", &line])
            .limit(world.limit(LINES_LIMIT))
            .run()?
            .expect_code(0)?;
        let expected = numbers(count);
        ensure!(finished.stdout == expected, "stdout of {line} differs");
        ensure!(finished.stderr == expected, "stderr of {line} differs");
    }
    kept.does(&["kill", NAME])?;
    kept.ends_well()
}
