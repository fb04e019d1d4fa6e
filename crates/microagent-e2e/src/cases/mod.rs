//! The cases, one file for each subject. A case's name is the fact that it tries.

mod bad_host;
mod bad_image;
mod both_ways;
mod bulk;
mod copies;
mod crashes;
mod cut_short;
mod disks;
mod durability;
mod dying;
mod endings;
mod examples;
mod full_disk;
mod host;
mod in_order;
mod interrupts;
mod lifecycle;
mod manual;
mod mediation;
mod moved;
mod network;
pub(crate) mod odd_tree;
mod often;
mod publish;
mod quarantine;
mod read_only;
mod registry;
mod sessions;
mod settings;
mod short;
mod sources;
mod streams;
mod terminal;
mod together;

use crate::framework::case::Case;
use anyhow::{Context as _, Result};

/// All of them, the quick and telling ones first.
pub(crate) fn all() -> Vec<Case> {
    [
        host::cases(),
        streams::cases(),
        terminal::cases(),
        endings::cases(),
        sources::cases(),
        registry::cases(),
        settings::cases(),
        sessions::cases(),
        in_order::cases(),
        cut_short::cases(),
        copies::cases(),
        disks::cases(),
        odd_tree::cases(),
        bulk::cases(),
        together::cases(),
        often::cases(),
        bad_image::cases(),
        bad_host::cases(),
        full_disk::cases(),
        interrupts::cases(),
        crashes::cases(),
        lifecycle::cases(),
        examples::cases(),
        moved::cases(),
        manual::cases(),
        read_only::cases(),
        dying::cases(),
        durability::cases(),
        network::cases(),
        publish::cases(),
        mediation::cases(),
        both_ways::cases(),
        short::cases(),
        quarantine::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Those of these names. One that there is not is an error: a list of cases must not shrink unseen.
pub(crate) fn named<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<Case>> {
    let mut all = all();
    names
        .map(|name| {
            let found = all.iter().position(|case| case.name == name);
            let found = found.with_context(|| format!("there is no case `{name}`"))?;
            Ok(all.swap_remove(found))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_found_by_their_names_and_nothing_else() {
        let names = [
            "host::version_is_a_line_and_a_document",
            "streams::python_prints_42",
        ];
        let found = named(names.into_iter()).unwrap();
        assert_eq!(
            found.iter().map(|case| case.name).collect::<Vec<_>>(),
            names
        );
        assert!(named(["host::"].into_iter()).is_err());
    }
}
