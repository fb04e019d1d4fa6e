//! The cases, one file each.

mod disk_clone;
pub(crate) mod image_build;
mod ready;
mod run;

use crate::bench::{Bench, Report};
use anyhow::Result;

/// A comparison that can be asked for by name.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Bench) -> Result<Report>,
}

const ALL: &[Case] = &[
    Case {
        name: "run",
        run: run::measure,
    },
    Case {
        name: "ready",
        run: ready::measure,
    },
    Case {
        name: "image-build",
        run: image_build::measure,
    },
    Case {
        name: "disk-clone",
        run: disk_clone::measure,
    },
];

/// What can be asked for.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|case| case.name).collect()
}

/// The cases that were asked for, in their own order; all when none was.
pub(crate) fn chosen(names: &[String]) -> impl Iterator<Item = &'static Case> {
    ALL.iter()
        .filter(move |case| names.is_empty() || names.iter().any(|name| name == case.name))
}
