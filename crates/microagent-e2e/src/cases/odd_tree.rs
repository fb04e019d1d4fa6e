//! A tree of odd files, seen from inside the guest, is what `umoci unpack` makes of the same image.
//!
//! Hard links, extended attributes and capabilities, devices, setuid bits, long names, chains of links,
//! a sparse file of 3 GiB, whiteouts and opaque folders over several layers, on top of a whole Debian.
//! The judge's own answer is kept beside the image, so it unpacks once in the life of the cache.

use crate::framework::case::{Case, Need, case};
use crate::framework::check;
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};
use microagent_test::image::debian::Debian;
use microagent_test::image::{Tool, made_once};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A change of the scripts is a new name here.
const RECIPE: &str = "odd-tree-1";
const MAKE: &str = include_str!("../programs/odd_tree.sh");
const LIST: &str = include_str!("../programs/tree.py");
/// The guest reads some nine thousand files.
const LIST_LIMIT: Duration = Duration::from_mins(1);
/// What the file system of the disk has and the image has not, and what guest init makes when the image
/// lacks it: a place to mount the names of hosts on.
const OURS: &[&str] = &["/lost+found", "/etc/hosts"];
/// Folders whose time is not the image's: the root is an entry of no layer, the other has the above.
const TOUCHED: &[&str] = &["/", "/etc"];
/// Differences that are told at once; the rest is counted.
const SHOWN_MAX: usize = 20;

pub(crate) fn cases() -> Vec<Case> {
    const TOOLS: &[Need] = &[
        Need::Tool("setcap"),
        Need::Tool("setfattr"),
        Need::Tool("setfacl"),
        Need::Tool("python3"),
    ];
    vec![
        case("odd_tree::a_guest_sees_what_umoci_unpacks", compared).needing(TOOLS),
        case("odd_tree::a_sparse_file_stays_sparse", sparse).needing(TOOLS),
        case("odd_tree::the_image_is_a_clean_file_system", clean).needing(TOOLS),
    ]
}

/// Where the image and the judge's answer are.
pub(crate) struct OddImage {
    folder: PathBuf,
}

impl OddImage {
    /// Makes it, once in the life of the cache; takes a few minutes then.
    pub(crate) fn ensure(debian: &Debian) -> Result<Self> {
        let folder = made_once(RECIPE, |folder| make(debian, folder))?;
        Ok(Self { folder })
    }

    fn source(&self) -> String {
        format!("oci:{}", self.folder.join("layout").display())
    }

    fn expected(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.join("expected.jsonl"))?)
    }
}

fn make(debian: &Debian, folder: &Path) -> Result<()> {
    let layout = folder.join("layout");
    let image = format!("{}:latest", layout.display());
    let work = folder.join("work");
    let script = folder.join("odd_tree.sh");
    let list = folder.join("tree.py");
    std::fs::create_dir(&work)?;
    std::fs::write(&script, MAKE)?;
    std::fs::write(&list, LIST)?;
    Tool::new("cp")
        .arg("-a")
        .arg(debian.layout())
        .arg(&layout)
        .ok()?;
    Tool::new("sh").arg(&script).arg(&image).arg(&work).ok()?;
    let bundle = folder.join("bundle");
    Tool::new("umoci")
        .args(["unpack", "--image", &image])
        .arg(&bundle)
        .ok()?;
    let listing = Tool::new("python3")
        .arg(&list)
        .arg(bundle.join("rootfs"))
        .output_text()?;
    std::fs::write(folder.join("expected.jsonl"), listing)?;
    for folder in [work, bundle] {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove `{}`", folder.display()))?;
    }
    Ok(())
}

/// The root disk alone, without what guest init mounts over it, shows at a bind mount.
fn compared(world: &World) -> Result<()> {
    let odd = world.odd_image()?;
    let finished = world
        .guest_of(&odd.source())
        .flags(&["-i", "--disk-size", "6G"])
        .shell("mount --bind / /mnt && exec python3 -B - /mnt")
        .stdin(LIST)
        .limit(world.limit(LIST_LIMIT))
        .ends_with(0)?;
    let (wanted, found) = (parse(&odd.expected()?)?, parse(&finished.stdout_text())?);
    let differences = differences(&wanted, &found);
    ensure!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences[..differences.len().min(SHOWN_MAX)].join("\n")
    );
    Ok(())
}

fn parse(listing: &str) -> Result<BTreeMap<String, Value>> {
    listing
        .lines()
        .map(|line| {
            let entry: Value = serde_json::from_str(line).context("a listing is JSON lines")?;
            let path = entry["path"]
                .as_str()
                .context("an entry has a path")?
                .to_owned();
            Ok((path, entry))
        })
        .collect()
}

fn differences(wanted: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) -> Vec<String> {
    let mut told = Vec::new();
    for (path, entry) in wanted {
        match found.get(path) {
            None => told.push(format!("{path:?} is missing")),
            Some(ours) => told.extend(differing_fields(path, entry, ours)),
        }
    }
    told.extend(
        found
            .keys()
            .filter(|path| !wanted.contains_key(*path) && !OURS.contains(&path.as_str()))
            .map(|path| format!("{path:?} is not in the image")),
    );
    told
}

fn differing_fields(path: &str, wanted: &Value, found: &Value) -> Vec<String> {
    let keys = |value: &Value| -> Vec<String> {
        value
            .as_object()
            .map(|object| object.keys().cloned().collect())
            .unwrap_or_default()
    };
    let mut fields = keys(wanted);
    fields.extend(keys(found));
    fields.sort();
    fields.dedup();
    fields
        .into_iter()
        .filter(|field| !(field == "mtime" && TOUCHED.contains(&path)))
        .filter(|field| wanted.get(field) != found.get(field))
        .map(|field| {
            let shown = |value: &Value| value.get(&field).cloned().unwrap_or_default();
            format!(
                "{path:?} {field}: {} and not {}",
                shown(found),
                shown(wanted)
            )
        })
        .collect()
}

fn sparse(world: &World) -> Result<()> {
    let odd = world.odd_image()?;
    let finished = world
        .guest_of(&odd.source())
        .flags(&["--disk-size", "6G"])
        .shell(
            "stat -c '%s %b' /odd/sparse/three-gib; tail -c 472 /odd/sparse/three-gib | head -c 4",
        )
        .limit(world.limit(LIST_LIMIT))
        .ends_with(0)?;
    let text = finished.stdout_text();
    let (size, rest) = text.split_once(' ').context("two numbers")?;
    let (blocks, end) = rest.split_once('\n').context("two lines")?;
    ensure!(size == "3221225472", "{text}");
    ensure!(end == "here", "{text}");
    let blocks: u64 = blocks.parse()?;
    ensure!(
        blocks < 2048,
        "{blocks} blocks of 512 bytes hold four short words"
    );
    Ok(())
}

fn clean(world: &World) -> Result<()> {
    world
        .guest_of(&world.odd_image()?.source())
        .flags(&["--disk-size", "6G"])
        .command(&["true"])
        .limit(world.limit(LIST_LIMIT))
        .ends_with(0)?;
    for image in check::stored_images(world.home()) {
        microagent_test::fsck::clean(&image)?;
        ensure!(
            allocated(&image)? < 1 << 30,
            "`{}` is not sparse",
            image.display()
        );
    }
    Ok(())
}

fn allocated(path: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(File::open(path)?.metadata()?.blocks() * 512)
}
