//! What the fuzz targets check, on every input that is kept in `fuzz/corpus` and on changed copies of
//! it: what a fuzzer once found can't come back, and no fuzzer is needed to notice.
//!
//! The changes follow from a fixed seed. `cargo xtask fuzz` looks further, led by coverage.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test reads the corpus itself and says which input broke"
)]

#[path = "../../../fuzz/checks/mod.rs"]
mod checks;

#[path = "../../../fuzz/checks/replay.rs"]
mod replay;

/// Changed copies of each input.
const COPIES: u32 = 400;

#[test]
fn kept_archives_and_changed_ones_are_read_or_refused() {
    replay::of_target("tar", COPIES, checks::tar::check);
}

#[test]
fn kept_layers_and_changed_ones_are_a_disk_or_refused() {
    replay::of_target("image", COPIES, checks::image::check);
}

#[test]
fn kept_documents_and_changed_ones_are_read_or_refused() {
    replay::of_target("document", COPIES, checks::document::check);
}

#[test]
fn kept_references_and_changed_ones_say_themselves_again() {
    replay::of_target("reference", COPIES, checks::reference::check);
}
