//! The cases, one file each.

mod boot;
mod disk_clone;
mod disk_clone_shared;
mod exec;
pub(crate) mod image_build;
pub(crate) mod image_decompress;
mod image_load;
mod lifecycle;
mod nat;
mod net;
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
        name: "boot-start",
        run: boot::start,
    },
    Case {
        name: "boot-run",
        run: boot::run,
    },
    Case {
        name: "boot-guest-time",
        run: boot::guest_time,
    },
    Case {
        name: "boot-memory",
        run: boot::memory,
    },
    Case {
        name: "image-build",
        run: image_build::measure,
    },
    Case {
        name: "image-many-files",
        run: image_build::measure_many_files,
    },
    Case {
        name: "image-decompress",
        run: image_decompress::measure,
    },
    Case {
        name: "image-load",
        run: image_load::measure,
    },
    Case {
        name: "disk-clone",
        run: disk_clone::measure,
    },
    Case {
        name: "disk-clone-shared",
        run: disk_clone_shared::measure,
    },
    Case {
        name: "lifecycle-status",
        run: lifecycle::status,
    },
    Case {
        name: "lifecycle-status-of-many",
        run: lifecycle::status_of_many,
    },
    Case {
        name: "lifecycle-list",
        run: lifecycle::list,
    },
    Case {
        name: "lifecycle-list-of-many",
        run: lifecycle::list_of_many,
    },
    Case {
        name: "lifecycle-request",
        run: lifecycle::request,
    },
    Case {
        name: "lifecycle-create",
        run: lifecycle::create,
    },
    Case {
        name: "lifecycle-monitor",
        run: lifecycle::monitor,
    },
    Case {
        name: "lifecycle-start",
        run: lifecycle::start,
    },
    Case {
        name: "exec-command",
        run: exec::by_command,
    },
    Case {
        name: "exec-library",
        run: exec::by_library,
    },
    Case {
        name: "exec-stream-out",
        run: exec::stream_out,
    },
    Case {
        name: "exec-stream-in",
        run: exec::stream_in,
    },
    Case {
        name: "exec-many",
        run: exec::many,
    },
    Case {
        name: "exec-copy-in",
        run: exec::copy_in,
    },
    Case {
        name: "exec-copy-out",
        run: exec::copy_out,
    },
    Case {
        name: "net-publish-out",
        run: net::publish_out,
    },
    Case {
        name: "net-publish-in",
        run: net::publish_in,
    },
    Case {
        name: "net-publish-trips",
        run: net::publish_trips,
    },
    Case {
        name: "net-publish-connections",
        run: net::publish_connections,
    },
    Case {
        name: "net-mediation-out",
        run: net::mediation_out,
    },
    Case {
        name: "net-mediation-in",
        run: net::mediation_in,
    },
    Case {
        name: "net-mediation-trips",
        run: net::mediation_trips,
    },
    Case {
        name: "net-mediation-connections",
        run: net::mediation_connections,
    },
    Case {
        name: "net-nat-out",
        run: nat::out,
    },
    Case {
        name: "net-nat-in",
        run: nat::into,
    },
    Case {
        name: "net-nat-trips",
        run: nat::trips,
    },
    Case {
        name: "net-quarantine",
        run: net::quarantine,
    },
];

/// Asks for every case whose name begins so.
const GROUPS: &[&str] = &["boot", "exec", "lifecycle", "net"];

/// What can be asked for.
pub(crate) fn names() -> Vec<&'static str> {
    let cases = ALL.iter().map(|case| case.name);
    cases.chain(GROUPS.iter().copied()).collect()
}

fn is_in(group: &str, case: &str) -> bool {
    GROUPS.contains(&group) && case.starts_with(group)
}

/// The cases that were asked for, in their own order; all when none was.
pub(crate) fn chosen(names: &[String]) -> impl Iterator<Item = &'static Case> {
    ALL.iter().filter(move |case| {
        let is_meant = |name: &String| name == case.name || is_in(name, case.name);
        names.is_empty() || names.iter().any(is_meant)
    })
}
