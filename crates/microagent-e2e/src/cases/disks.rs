//! Data disks in a real guest: made, filled, mounted where they were asked for, kept or gone.

use crate::framework::case::{Case, case};
use crate::framework::check;
use crate::framework::world::World;
use anyhow::{Result, ensure};
use microagent_test::image::Tool;

pub(crate) fn cases() -> Vec<Case> {
    vec![case(
        "disks::a_guest_mounts_empty_filled_and_foreign_disks",
        all_kinds,
    )]
}

fn all_kinds(world: &World) -> Result<()> {
    let folder = world.home().work_dir().join("disks");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("note"), "from the tarball\n")?;
    let path = |name: &str| folder.join(name).display().to_string();
    Tool::new("tar")
        .args(["-C", &folder.display().to_string(), "-cf", &path("set.tar")])
        .arg("note")
        .ok()?;
    Tool::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", &path("own.ext4"), "16M"])
        .ok()?;
    let (set, own) = (
        format!("set={}:/set:ro", path("set.tar")),
        format!("own={}:/srv/own", path("own.ext4")),
    );
    let finished = world
        .guest()?
        .flags(&["--disk", "data=64M:/data", "--disk", &set, "--disk", &own])
        .shell(
            "cat /set/note; touch /set/x 2>/dev/null || echo read-only; \
             echo kept > /srv/own/note; head -c 30000000 /dev/zero > /data/big && wc -c < /data/big; \
             stat -f -c %T /data /set /srv/own",
        )
        .ends_with(0)?;
    let text = finished.stdout_text();
    let expected = "from the tarball\nread-only\n30000000\next2/ext3\next2/ext3\next2/ext3\n";
    ensure!(text == expected, "{text}");
    check::nothing_left(world, world.home())?;
    let again = world
        .guest()?
        .flags(&["--disk", &format!("{own}:ro")])
        .shell("cat /srv/own/note")
        .ends_with(0)?;
    ensure!(again.stdout == b"kept\n", "{}", again.stdout_text());
    Ok(())
}
