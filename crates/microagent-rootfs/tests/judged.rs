//! Our disk, mounted by the kernel, beside what `umoci unpack` makes of the same image; and the
//! same image in every form that `skopeo` writes.
//!
//! Both need root and a loop device. Where they can't be had, the tests say so and compare nothing
//! but the judgement of `e2fsck`; the guests of the end-to-end tests compare the rest.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test starts its judges, reads their files itself, and says what it left out"
)]

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt::Write as _,
    fs::File,
    io::Read,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use microagent_oci::registry::CredentialFiles;
use microagent_rootfs::{
    BuildOptions, BuiltImage, CancelToken, DiskShape, ImageStore, Limits, PullPolicy, Registries,
    RegistryOptions, RootfsError, STANDARD_BYTES, Silent,
};
use microagent_test::{
    fsck,
    image::Tool,
    registry::{Access, Registry},
};
use microagent_types::{Arch, ImageRef, ImageSource};
use sha2::{Digest, Sha256};

const LOWEST: &str = r#"
umask 022
mkdir -p bin etc gone/deep opaque/sub replaced/dir usr/lib odd many
printf lower > etc/conf
printf keep > etc/keep
printf a > gone/a; printf b > gone/deep/b
printf x > opaque/x; printf y > opaque/sub/y
printf f > replaced/file; printf inner > replaced/dir/inner; ln -s dir replaced/link
ln -s usr/lib lib
printf one > bin/one; ln bin/one bin/two; ln bin/one odd/three
printf su > bin/su; chmod 4755 bin/su
printf sg > bin/sg; chmod 2711 bin/sg
mkdir tmp; chmod 1777 tmp
printf ping > bin/ping; chown 12:34 bin/ping
setcap cap_net_raw,cap_setuid+ep bin/ping
printf x > odd/attributes
setfattr -n user.lines -v 0x0a310a00ff3d0a odd/attributes
setfattr -n user.long -v 0x$(printf 'ab%.0s' $(seq 3000)) odd/attributes
setfattr -n trusted.thing -v value odd/attributes
setfattr -n user.directory -v yes usr
mknod odd/null c 1 3; mknod odd/disk b 7 300; mknod odd/far c 511 65536
chown 70000:80000 odd/null; mkfifo odd/pipe; chmod 640 odd/pipe
printf long > odd/$(printf 'n%.0s' $(seq 255))
printf bytes > "odd/$(printf 'not\377\376text')"
printf end > odd/end
ln -s end odd/l1; ln -s l1 odd/l2; ln -s l2 odd/l3; ln -s l3 odd/l4; ln -s l4 odd/l5
ln -s $(printf 't%.0s' $(seq 59)) odd/s59
ln -s $(printf 't%.0s' $(seq 60)) odd/s60
ln -s $(printf 'deep/%.0s' $(seq 200)) odd/s1000
ln -s /nowhere/at/all odd/dangling
chown -h 5:6 odd/dangling
truncate -s 200M odd/sparse; printf middle | dd of=odd/sparse bs=1 seek=123456789 conv=notrunc status=none
head -c 3000000 /dev/urandom > odd/large
: > odd/empty
for i in $(seq 700); do printf $i > many/a-file-with-a-longer-name-$i; done
touch -d '1960-01-02 03:04:05.123456789 UTC' etc/keep
touch -d '2106-01-02 03:04:05.987654321 UTC' bin/one
touch -h -d '2001-02-03 04:05:06.7 UTC' odd/dangling
touch -d '1999-12-31 23:59:59.999999999 UTC' usr odd
"#;

const MIDDLE: &str = r"
umask 022
mkdir -p bin etc gone opaque replaced/file odd many
printf middle > etc/conf; chmod 600 etc/conf
: > gone/.wh.deep
: > opaque/.wh..wh..opq
printf z > opaque/z
printf inside > replaced/file/inside
printf 'now a file' > replaced/dir
mkdir replaced/link; printf real > replaced/link/real
printf su2 > bin/su; chmod 755 bin/su
chown 1:2 etc; chmod 711 etc
for i in $(seq 1 7 700); do : > many/.wh.a-file-with-a-longer-name-$i; done
printf new > many/new
touch -d '2010-10-10 10:10:10 UTC' etc opaque
";

const HIGHEST: &str = r"
umask 022
mkdir -p odd lib2/x
: > .wh.gone
: > odd/.wh.sparse
printf top > odd/top; ln odd/top lib2/x/top
printf three > odd/three
";

/// Three layers with everything in them that is odd, as an OCI layout in `folder`.
fn odd_image(folder: &Path) -> PathBuf {
    let layout = folder.join("layout");
    let image = format!("{}:odd", layout.display());
    Tool::new("umoci")
        .args(["init", "--layout"])
        .arg(&layout)
        .ok()
        .unwrap();
    Tool::new("umoci")
        .args(["new", "--image", &image])
        .ok()
        .unwrap();
    for (number, script) in [LOWEST, MIDDLE, HIGHEST].iter().enumerate() {
        let tree = folder.join(format!("layer{number}"));
        std::fs::create_dir(&tree).unwrap();
        Tool::new("bash")
            .args(["-ec", script])
            .within(&tree)
            .ok()
            .unwrap();
        let archive = folder.join(format!("layer{number}.tar"));
        Tool::new("tar")
            .args([
                "--format=posix",
                "--sparse",
                "--numeric-owner",
                "--sort=name",
            ])
            .args(["--xattrs", "--xattrs-include=*", "-C"])
            .arg(&tree)
            .arg("-cf")
            .arg(&archive)
            .args(if number == 0 {
                &["."][..]
            } else {
                &["--no-recursion", "-T", "/dev/null"]
            })
            .ok()
            .unwrap();
        if number > 0 {
            // Layers name what they change and not the root.
            let script = "find . -mindepth 1 | sed 's,^./,,' | LC_ALL=C sort | tar --format=posix \
                --no-recursion --numeric-owner --xattrs --xattrs-include='*' -cf \"$1\" -T -";
            Tool::new("bash")
                .args(["-ec", script, "tar"])
                .arg(&archive)
                .within(&tree)
                .ok()
                .unwrap();
        }
        let add = ["raw", "add-layer", "--image", &image];
        Tool::new("umoci").args(add).arg(&archive).ok().unwrap();
    }
    layout
}

fn options() -> BuildOptions {
    BuildOptions {
        arch: Arch::Amd64,
        limits: Limits::ORDINARY,
        cancel: CancelToken::new(),
    }
}

fn build(images: &Path, source: &str) -> BuiltImage {
    let store = ImageStore::open(images).unwrap();
    let built = store
        .ensure(&source.parse().unwrap(), &options(), &mut Silent)
        .unwrap();
    fsck::clean(&built.disk).unwrap();
    built
}

/// A disk that the kernel has mounted, read-only.
struct Mounted {
    place: PathBuf,
}

impl Mounted {
    fn new(disk: &Path, place: &Path) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can mount a disk");
            return None;
        }
        std::fs::create_dir(place).unwrap();
        let mounted = Tool::new("mount")
            .args(["-o", "loop,ro,noload"])
            .arg(disk)
            .arg(place)
            .output_text();
        match mounted {
            Ok(_) => Some(Self {
                place: place.to_owned(),
            }),
            Err(error) => {
                eprintln!("skipped: this host has no loop devices for us: {error:#}");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Tool::new("umount").arg(&self.place).ok();
    }
}

/// Every path below `root` with everything that is known of it.
fn listing(root: &Path) -> BTreeMap<String, String> {
    let mut listing = BTreeMap::new();
    let mut groups: BTreeMap<u64, String> = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        let mut names: Vec<_> = std::fs::read_dir(root.join(&folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        for name in names {
            let path = folder.join(&name);
            if path == Path::new("lost+found") {
                continue;
            }
            let text = path.as_os_str().as_bytes().escape_ascii().to_string();
            let metadata = std::fs::symlink_metadata(root.join(&path)).unwrap();
            if metadata.is_dir() {
                open.push(path.clone());
            } else {
                let group = groups.entry(metadata.ino()).or_default();
                write!(group, " {text}").unwrap();
            }
            listing.insert(text, describe(&root.join(&path), &metadata));
        }
    }
    let mut groups: Vec<String> = groups
        .into_values()
        .map(|group| {
            let mut names: Vec<_> = group.split(' ').filter(|name| !name.is_empty()).collect();
            names.sort_unstable();
            names.join(" = ")
        })
        .filter(|group| group.contains(" = "))
        .collect();
    groups.sort();
    listing.insert("(hard links)".into(), groups.join("; "));
    listing
}

fn describe(path: &Path, metadata: &std::fs::Metadata) -> String {
    let mut text = format!(
        "{:o} {}:{} {}.{:09}",
        metadata.mode(),
        metadata.uid(),
        metadata.gid(),
        metadata.mtime(),
        metadata.mtime_nsec()
    );
    let kind = metadata.file_type();
    if kind.is_file() {
        let mut file = File::open(path).unwrap();
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = file.read(&mut buffer).unwrap();
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
        }
        let hash = hash.finalize();
        write!(
            text,
            " {} links {} {:02x?}",
            metadata.len(),
            metadata.nlink(),
            &hash[..8]
        )
        .unwrap();
    } else if kind.is_symlink() {
        let target = std::fs::read_link(path).unwrap();
        write!(text, " -> {}", target.as_os_str().as_bytes().escape_ascii()).unwrap();
    } else if kind.is_char_device() || kind.is_block_device() {
        write!(text, " device {:x}", metadata.rdev()).unwrap();
    }
    let mut names = vec![0; 65536];
    let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let mut attributes: Vec<&[u8]> = names[..len].split(|byte| *byte == 0).collect();
    attributes.sort_unstable();
    for name in attributes.into_iter().filter(|name| !name.is_empty()) {
        let mut value = vec![0; 65536];
        let len = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).unwrap();
        let name = name.escape_ascii();
        write!(text, " {name}={:02x?}", &value[..len]).unwrap();
    }
    text
}

fn assert_same(ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) {
    let mut differences = String::new();
    for path in ours.keys().chain(theirs.keys()) {
        let (a, b) = (ours.get(path), theirs.get(path));
        if a != b {
            let shorten = |text: Option<&String>| {
                text.map_or("-".to_owned(), |text| text.chars().take(300).collect())
            };
            writeln!(
                differences,
                "{path}\n  ours   {}\n  theirs {}",
                shorten(a),
                shorten(b)
            )
            .unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn an_odd_image_is_what_umoci_makes_of_it_in_every_form() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can make devices and own files for others");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let layout = odd_image(folder.path());
    let images = folder.path().join("images");
    let built = build(&images, &format!("oci:{}:odd", layout.display()));
    assert!(!built.reused);
    assert!(built.warnings.is_empty(), "{:?}", built.warnings);

    let bundle = folder.path().join("bundle");
    Tool::new("umoci")
        .args(["unpack", "--image", &format!("{}:odd", layout.display())])
        .arg(&bundle)
        .ok()
        .unwrap();
    let Some(mounted) = Mounted::new(&built.disk, &folder.path().join("mount")) else {
        return;
    };
    let ours = listing(&mounted.place);
    drop(mounted);
    // The two could agree on nothing at all.
    assert!(ours.len() > 600);
    assert!(ours["bin/ping"].contains("security.capability="));
    assert!(ours["odd/attributes"].contains("user.lines=[0a, 31, 0a, 00, ff, 3d, 0a]"));
    assert!(ours["odd/attributes"].contains("trusted.thing="));
    assert_eq!(
        ours["(hard links)"],
        "bin/one = bin/two; lib2/x/top = odd/top"
    );
    assert!(!ours.contains_key("gone") && !ours.contains_key("opaque/x"));
    assert!(ours.contains_key("odd/not\\xff\\xfetext"));
    assert_same(&ours, &listing(&bundle.join("rootfs")));

    // The same image in the other forms.
    let from = format!("oci:{}:odd", layout.display());
    let at = |name: &str| folder.path().join(name).display().to_string();
    let forms = [
        (format!("oci-archive:{}:odd", at("a.tar")), vec![]),
        (format!("docker-archive:{}:odd:1", at("d.tar")), vec![]),
        (
            format!("oci:{}:odd", at("zstd")),
            vec!["--dest-compress-format", "zstd"],
        ),
    ];
    for (number, (form, flags)) in forms.into_iter().enumerate() {
        Tool::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet"])
            .args(flags)
            .args([&from, &form])
            .ok()
            .unwrap();
        let built = build(&images, &form);
        let place = folder.path().join(format!("form{number}"));
        let mounted = Mounted::new(&built.disk, &place).unwrap();
        assert_same(&listing(&mounted.place), &ours);
    }
    if let Some(built) = pulled(folder.path(), &from) {
        let mounted = Mounted::new(&built.disk, &folder.path().join("pulled")).unwrap();
        assert_same(&listing(&mounted.place), &ours);
    }
}

/// The image of `source` after a way through a registry, into a cache of its own.
fn pulled(folder: &Path, source: &str) -> Option<BuiltImage> {
    if let Some(program) = Registry::missing_program() {
        eprintln!("skipped: `{program}` is not installed");
        return None;
    }
    let registry = Registry::start(folder, Access::Anybody, None).unwrap();
    registry.fill(source, "odd/image:1").unwrap();
    let registries = Registries::new(RegistryOptions {
        credentials: CredentialFiles::default(),
        ..RegistryOptions::from_environment()
    });
    let store = ImageStore::open(&folder.join("pulled-images")).unwrap();
    let options = BuildOptions {
        arch: Arch::current().unwrap(),
        limits: Limits::ORDINARY,
        cancel: CancelToken::new(),
    };
    let reference: ImageRef = registry.reference("odd/image:1").parse().unwrap();
    let policy = PullPolicy::Always;
    let built = store.pull(&reference, policy, &registries, &options, &mut Silent);
    Some(built.unwrap())
}

#[test]
fn a_smaller_disk_has_an_image_of_its_own_and_a_stored_one_is_found_in_either_shape() {
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout");
    plain_image().write_layout(&layout).unwrap();
    let images = folder.path().join("images");
    let source: ImageSource = format!("oci:{}", layout.display()).parse().unwrap();
    let standard = ImageStore::open(&images).unwrap();
    let fitted = standard.clone().with_shape(DiskShape::Fitted);
    let small = fitted.ensure(&source, &options(), &mut Silent).unwrap();
    assert!(small.size.bytes() < 1 << 30, "{}", small.size);
    let stored: ImageSource = small.digest.to_string().parse().unwrap();
    let found = standard.ensure(&stored, &options(), &mut Silent).unwrap();
    assert_eq!(found.disk, small.disk);
    let large = standard.ensure(&source, &options(), &mut Silent).unwrap();
    assert!(!large.reused);
    assert_eq!(large.size.bytes(), STANDARD_BYTES);
    for (store, disk) in [(&standard, &large.disk), (&fitted, &small.disk)] {
        let found = store.ensure(&stored, &options(), &mut Silent).unwrap();
        assert_eq!((&found.disk, found.reused), (disk, true));
    }
}

#[test]
fn the_second_time_nothing_is_built_and_the_same_image_has_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout");
    plain_image().write_layout(&layout).unwrap();
    let source = format!("oci:{}", layout.display());
    let first = build(&folder.path().join("one"), &source);
    assert!(!first.reused && first.build_time.is_some());
    let again = build(&folder.path().join("one"), &source);
    assert!(again.reused && again.build_time.is_none());
    assert_eq!(
        (again.disk.clone(), again.config.clone()),
        (first.disk.clone(), first.config)
    );
    // The smaller shape, whose bytes can all be looked at.
    let bytes = |images: &str| {
        let store = ImageStore::open(&folder.path().join(images)).unwrap();
        let store = store.with_shape(DiskShape::Fitted);
        let built = store.ensure(&source.parse().unwrap(), &options(), &mut Silent);
        std::fs::read(&built.unwrap().disk).unwrap()
    };
    assert!(bytes("two") == bytes("three"));

    // By its digest alone, without the source.
    std::fs::remove_dir_all(&layout).unwrap();
    let short = &first.digest.to_string()[..7 + 12];
    assert_eq!(build(&folder.path().join("one"), short).disk, first.disk);
    let store = ImageStore::open(&folder.path().join("one")).unwrap();
    let missing = "sha256:123456123456".parse().unwrap();
    let error = store.ensure(&missing, &options(), &mut Silent).unwrap_err();
    assert!(matches!(error, RootfsError::NotStored { .. }));
}

fn plain_image() -> microagent_test::image::Image {
    use microagent_test::image::{Image, Layer};
    Image::new().layer(
        Layer::new()
            .folder("etc", 0o755)
            .file("etc/conf", 0o644, b"content"),
    )
}
