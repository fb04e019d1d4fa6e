//! Large amounts of data, in both directions, unharmed.

use crate::framework::case::{Case, case};
use crate::framework::world::World;
use anyhow::{Result, ensure};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::time::Duration;

const MEBIBYTE: usize = 1 << 20;
const OUTPUT_BYTES: usize = 100 * MEBIBYTE;
const INPUT_BYTES: usize = 32 * MEBIBYTE;
const LIMIT: Duration = Duration::from_mins(1);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("bulk::a_hundred_mebibytes_come_out_unharmed", output),
        case("bulk::a_large_stdin_goes_in_unharmed", input),
        case(
            "bulk::a_command_that_writes_while_it_reads_does_not_hang",
            both_ways,
        ),
        case(
            "bulk::a_guest_that_reads_nothing_does_not_hang_the_run",
            unread_input,
        ),
    ]
}

/// What `seq 1 N` prints, cut at `bytes`: no part of it is like another.
fn numbers(bytes: usize) -> Vec<u8> {
    let mut text = String::with_capacity(bytes + 16);
    let mut number = 1_u64;
    while text.len() < bytes {
        writeln!(text, "{number}").expect("a string takes every write");
        number += 1;
    }
    text.truncate(bytes);
    text.into_bytes()
}

fn output(world: &World) -> Result<()> {
    let finished = world
        .guest()?
        .shell(&format!("seq 1 20000000 | head -c {OUTPUT_BYTES}"))
        .limit(world.limit(LIMIT))
        .ends_with(0)?;
    ensure!(
        finished.stdout.len() == OUTPUT_BYTES,
        "{} bytes",
        finished.stdout.len()
    );
    ensure!(
        Sha256::digest(&finished.stdout) == Sha256::digest(numbers(OUTPUT_BYTES)),
        "the bytes differ"
    );
    Ok(())
}

fn input(world: &World) -> Result<()> {
    let bytes = numbers(INPUT_BYTES);
    let expected = Sha256::digest(&bytes)
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let finished = world
        .guest()?
        .flags(&["-i"])
        .command(&["sha256sum"])
        .stdin(bytes)
        .limit(world.limit(LIMIT))
        .ends_with(0)?;
    ensure!(
        finished.stdout_text() == format!("{expected}  -\n"),
        "{} and not {expected}",
        finished.stdout_text()
    );
    Ok(())
}

/// Every buffer between the two fills up in both directions at once.
fn both_ways(world: &World) -> Result<()> {
    let bytes = numbers(INPUT_BYTES);
    let finished = world
        .guest()?
        .flags(&["-i"])
        .command(&["cat"])
        .stdin(bytes.clone())
        .limit(world.limit(LIMIT))
        .ends_with(0)?;
    ensure!(finished.stdout == bytes, "{} bytes", finished.stdout.len());
    Ok(())
}

fn unread_input(world: &World) -> Result<()> {
    let finished = world
        .guest()?
        .flags(&["-i"])
        .shell("head -c 3; exit 5")
        .stdin(numbers(INPUT_BYTES))
        .ends_with(5)?;
    ensure!(finished.stdout == b"1\n2", "{}", finished.stdout_text());
    Ok(())
}
