//! What the fuzz targets of the guest's side check, on every input that is kept in `fuzz/corpus` and on changed
//! copies of it: what a fuzzer once found can't come back, and no fuzzer is needed to notice.
//!
//! `cargo xtask fuzz frames list` looks further, led by coverage.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test reads the corpus itself and says which input broke"
)]

#[path = "../../../fuzz/checks/frames.rs"]
mod frames;
#[path = "../../../fuzz/checks/list.rs"]
mod list;
#[path = "../../../fuzz/checks/replay.rs"]
mod replay;

/// Changed copies of each input.
const COPIES: u32 = 400;
/// A tree is made of real files.
const TREES: u32 = 10;

#[test]
fn kept_frames_and_changed_ones_are_read_or_refused() {
    replay::of_target("frames", COPIES, frames::check);
}

#[test]
fn kept_trees_and_changed_ones_are_listed_whole() {
    replay::of_target("list", TREES, list::check);
}
