//! A state directory that can't be written: what only looks works, what would change something is refused
//! as that, and nothing is lost when it can be written again.

use crate::framework::case::{Case, Need, case};
use crate::framework::small_disk::SmallDisk;
use crate::framework::workspace::{Lasting, NAME};
use crate::framework::world::World;
use anyhow::{Result, ensure};

const MEBIBYTES: u32 = 2048;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "read_only::a_state_directory_that_cannot_be_written_is_told_and_loses_nothing",
            read_only,
        )
        .needing(&[Need::Root]),
    ]
}

fn read_only(world: &World) -> Result<()> {
    let home = microagent_test::home::Home::new()?;
    let disk = SmallDisk::mount(&home.state_dir(), MEBIBYTES)?;
    let kept = Lasting::create_in(world, home, &[])?;
    let before = kept.home().state_listing();
    disk.set_writable(false)?;
    kept.is("prepared", "created")?;
    ensure!(kept.does(&["list", "-q"])?.stdout == format!("{NAME}\n").as_bytes());
    kept.does(&["events", "--verify", NAME])?;
    for verb in [&["start", NAME][..], &["delete", "--yes", NAME]] {
        let message = kept.refuses(verb, "denied")?;
        ensure!(!message.is_empty());
    }
    disk.set_writable(true)?;
    crate::framework::check::same(&before, &kept.home().state_listing())?;
    kept.is("prepared", "created")?;
    kept.ends_well()
}
