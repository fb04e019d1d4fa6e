//! The dependency tables of `ARCHITECTURE.md` against what cargo says, both ways.
//!
//! A crate without a row, a row without a crate, an edge that the table does not allow, an
//! allowance that nothing uses, a third-party crate without a line. A row whose kind says
//! `planned` stands for a crate that is not built yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata};

use super::Problem;
use super::tables::{code_spans, rows, section};

const PAGE: &str = "ARCHITECTURE.md";
const PREFIX: &str = "microagent-";
const START: &str = "<!-- tidy:dependencies -->";
const END: &str = "<!-- /tidy:dependencies -->";
const THIRD_PARTY: &str = "## 8. Third-party crates";
const PLANNED: &str = "planned";
const DEV: &str = "dev";

/// What the manifests of one of our crates name.
#[derive(Debug, Default, Clone)]
pub(super) struct Package {
    /// Our own crates, as normal dependencies, without the prefix.
    own: BTreeSet<String>,
    /// Other people's crates, of every kind.
    third_party: BTreeSet<String>,
}

struct Row {
    is_planned: bool,
    /// What never ships may leave an allowance unused.
    is_dev: bool,
    may_use: BTreeSet<String>,
}

/// What cargo knows of the workspace's members.
pub(super) fn packages(metadata: &Metadata) -> BTreeMap<String, Package> {
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let mut found = Package::default();
            for dependency in &package.dependencies {
                if dependency.path.is_none() {
                    found.third_party.insert(dependency.name.clone());
                } else if dependency.kind == DependencyKind::Normal {
                    found.own.insert(short(&dependency.name).to_owned());
                }
            }
            (package.name.to_string(), found)
        })
        .collect()
}

/// The table of section 3.
pub(super) fn check_own(page: &str, packages: &BTreeMap<String, Package>) -> Vec<Problem> {
    let file = Path::new(PAGE);
    let Some(table) = table_of(page) else {
        return vec![Problem::in_file(
            file,
            format!("there is no table after `{START}`"),
        )];
    };
    let rows: BTreeMap<String, Row> = rows(table).iter().filter_map(|cells| row(cells)).collect();
    let mut problems = Vec::new();
    let mut say = |text: String| problems.push(Problem::in_file(file, text));
    for (name, row) in &rows {
        match (packages.get(name), row.is_planned) {
            (None, false) => say(format!("`{name}` has a row and no crate")),
            (Some(_), true) => say(format!("`{name}` is there; its row still says {PLANNED}")),
            _ => {}
        }
    }
    for (name, package) in packages {
        let Some(row) = rows.get(name) else {
            say(format!("the crate `{name}` has no row"));
            continue;
        };
        for used in package.own.difference(&row.may_use) {
            say(format!(
                "`{name}` uses `{used}`, and its row does not allow that"
            ));
        }
        let unused = row.may_use.difference(&package.own);
        for unused in unused.filter(|_| !row.is_dev) {
            say(format!("`{name}` may use `{unused}` and does not"));
        }
    }
    problems
}

/// The table of section 8.
pub(super) fn check_third_party(page: &str, packages: &BTreeMap<String, Package>) -> Vec<Problem> {
    let file = Path::new(PAGE);
    let Some(text) = section(page, THIRD_PARTY) else {
        return vec![Problem::in_file(
            file,
            format!("there is no section `{THIRD_PARTY}`"),
        )];
    };
    let listed: BTreeSet<&str> = rows(text)
        .iter()
        .filter_map(|cells| cells.get(1))
        .flat_map(|cell| code_spans(cell))
        .collect();
    let mut users: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, package) in packages {
        for dependency in &package.third_party {
            users.entry(dependency).or_default().push(name);
        }
    }
    users
        .iter()
        .filter(|(dependency, _)| !listed.contains(**dependency))
        .map(|(dependency, users)| {
            Problem::in_file(
                file,
                format!(
                    "`{dependency}`, used by {}, has no line in the table of third-party crates",
                    users.join(", ")
                ),
            )
        })
        .collect()
}

fn row(cells: &[&str]) -> Option<(String, Row)> {
    let [name, kind, _, may_use] = cells else {
        return None;
    };
    let name = code_spans(name).first()?.to_string();
    let may_use = may_use
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && *name != "–")
        .map(str::to_owned)
        .collect();
    let says = |wanted: &str| kind.split(',').any(|word| word.trim() == wanted);
    Some((
        name,
        Row {
            is_planned: says(PLANNED),
            is_dev: says(DEV),
            may_use,
        },
    ))
}

/// The kinds of every crate that has a row, in the order of the table.
pub(crate) fn kinds(page: &str) -> Vec<(String, Vec<String>)> {
    let table = table_of(page).unwrap_or_default();
    rows(table)
        .iter()
        .filter_map(|cells| {
            let [name, kind, _, _] = cells.as_slice() else {
                return None;
            };
            let name = (*code_spans(name).first()?).to_owned();
            let kinds = kind.split(',').map(|word| word.trim().to_owned());
            Some((name, kinds.collect()))
        })
        .collect()
}

fn table_of(page: &str) -> Option<&str> {
    let (_, rest) = page.split_once(START)?;
    rest.split_once(END).map(|(table, _)| table)
}

fn short(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: &str) -> String {
        format!(
            "# t\n{START}\n| crate | kind | one line | may use |\n|---|---|---|---|\n{rows}{END}\n\
             \n{THIRD_PARTY}\n\n| job | crate | used by |\n|---|---|---|\n| errors | `anyhow` | x |\n"
        )
    }

    fn package(own: &[&str], third_party: &[&str]) -> Package {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Package {
            own: set(own),
            third_party: set(third_party),
        }
    }

    fn texts(problems: &[Problem]) -> Vec<&str> {
        problems
            .iter()
            .map(|problem| problem.text.as_str())
            .collect()
    }

    #[test]
    fn a_table_that_says_what_is_there_passes() {
        let page = page(
            "| `microagent-os` | host | doors | types |\n\
             | `microagent-types` | pure | names | – |\n\
             | `microagent-test` | dev | harness | os, types |\n\
             | `microagent-x` | linux, planned | later | types |\n",
        );
        let packages = BTreeMap::from([
            ("microagent-os".to_owned(), package(&["types"], &["anyhow"])),
            ("microagent-test".to_owned(), package(&["types"], &[])),
            ("microagent-types".to_owned(), package(&[], &[])),
        ]);
        assert_eq!(check_own(&page, &packages), []);
        assert_eq!(check_third_party(&page, &packages), []);
    }

    #[test]
    fn every_difference_is_named() {
        let page = page(
            "| `microagent-gone` | host | was | – |\n\
             | `microagent-here` | win, planned | is | – |\n\
             | `microagent-os` | host | doors | types |\n",
        );
        let packages = BTreeMap::from([
            ("microagent-here".to_owned(), package(&[], &[])),
            ("microagent-new".to_owned(), package(&[], &[])),
            ("microagent-os".to_owned(), package(&["wire"], &["openssl"])),
        ]);
        assert_eq!(
            texts(&check_own(&page, &packages)),
            [
                "`microagent-gone` has a row and no crate",
                "`microagent-here` is there; its row still says planned",
                "the crate `microagent-new` has no row",
                "`microagent-os` uses `wire`, and its row does not allow that",
                "`microagent-os` may use `types` and does not",
            ]
        );
        assert_eq!(
            texts(&check_third_party(&page, &packages)),
            ["`openssl`, used by microagent-os, has no line in the table of third-party crates"]
        );
    }

    #[test]
    fn a_page_without_its_tables_is_a_problem() {
        assert_eq!(check_own("# t\n", &BTreeMap::new()).len(), 1);
        assert_eq!(check_third_party("# t\n", &BTreeMap::new()).len(), 1);
    }
}
