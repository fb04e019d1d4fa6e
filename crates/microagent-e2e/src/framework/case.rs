//! A case: a fact, what it needs, and how it is tried. After each one, the framework looks for what
//! should not be there, so that no case has to remember to.

use crate::framework::check;
use crate::framework::world::World;
use anyhow::Result;
use libtest_mimic::{Completion, Failed, Trial};
use microagent_test::image::Tool;
use microagent_test::image::debian::Debian;
use std::sync::Arc;

/// What a case can't do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// To mount, to make devices, to be any user.
    Root,
    /// A program of the machine.
    Tool(&'static str),
    /// A backend whose vsock is a program of its own.
    VsockProgram,
}

/// A fact and how it is tried.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) run: fn(&World) -> Result<()>,
}

/// A case that needs nothing but what every case needs.
pub(crate) const fn case(name: &'static str, run: fn(&World) -> Result<()>) -> Case {
    Case {
        name,
        needs: &[],
        run,
    }
}

impl Case {
    /// With needs of its own.
    pub(crate) const fn needing(mut self, needs: &'static [Need]) -> Self {
        self.needs = needs;
        self
    }
}

/// What every case needs.
const COMMON: &[Need] = &[Need::Root];
/// What makes the images, once.
const MAKERS: &[Need] = &[
    Need::Tool("mmdebstrap"),
    Need::Tool("umoci"),
    Need::Tool("skopeo"),
];

/// The cases as the runner wants them.
pub(crate) fn trials(world: &Arc<World>, cases: Vec<Case>) -> Vec<Trial> {
    cases
        .into_iter()
        .map(|case| {
            let world = Arc::clone(world);
            Trial::ignorable_test(case.name, move || {
                let makers = if Debian::is_made() { &[] } else { MAKERS };
                let needs = [COMMON, makers, case.needs];
                if let Some(reason) = needs.iter().find_map(|needs| missing(&world, needs)) {
                    return Ok(Completion::ignored_with(reason));
                }
                perform(&world, &case).map_err(|error| Failed::from(format!("{error:#}")))?;
                Ok(Completion::Completed)
            })
        })
        .collect()
}

fn perform(world: &World, case: &Case) -> Result<()> {
    let result = (case.run)(world);
    let left = check::nothing_left(world, world.home());
    if left.is_err() {
        // A case that failed must not burden the next one.
        check::take_away(world);
    }
    result.and(left)
}

fn missing(world: &World, needs: &[Need]) -> Option<String> {
    needs.iter().find_map(|need| match need {
        Need::Root => (!is_root()).then(|| "it needs root".to_owned()),
        Need::Tool(name) => {
            (!Tool::is_here(name)).then(|| format!("`{name}` is not installed here"))
        }
        Need::VsockProgram => world
            .backend()
            .vsock_program()
            .is_none()
            .then(|| format!("`{}` has its vsock built in", world.backend().name())),
    })
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}
