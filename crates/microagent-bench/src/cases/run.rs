//! `microagent run IMAGE true` from a cached image, beside the engine alone with the same kernel.

use crate::bench::{Bench, Report, debian_source, timed};
use crate::raw_qemu::RawQemu;
use anyhow::Result;

const OURS: &str = "microagent run IMAGE true";
const REFERENCE: &str = "bare QEMU, same kernel and initramfs, switched off at once";

pub(crate) fn measure(bench: &Bench) -> Result<Report> {
    if !cfg!(target_arch = "x86_64") {
        return Ok(Report::no_counterpart(
            OURS,
            REFERENCE,
            "bare QEMU is known for x86-64 only",
        ));
    }
    let raw = RawQemu::like_the_product(bench)?;
    let image = debian_source()?;
    let comparison = bench.compare(
        || {
            timed(|| {
                bench
                    .microagent()
                    .args(["run", &image, "--", "true"])
                    .run()?
                    .expect_code(0)?;
                Ok(())
            })
        },
        || raw.run(),
    )?;
    Ok(Report::new(OURS, REFERENCE, comparison)
        .with_note("ours includes choosing a backend, the clone, the guest's set-up, the session and the removal"))
}
