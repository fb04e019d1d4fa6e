//! Sources that are broken, hostile or too large, and builds that end early: each is an error
//! that names its object, and nothing is left in the cache.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test makes its files itself, and says what it left out"
)]

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use microagent_rootfs::{
    BuildOptions, BuiltImage, CancelToken, DiskShape, ImageStore, Limits, OciError, ProgressStep,
    RootfsError, Silent,
};
use microagent_test::{
    fsck,
    image::{Flaw, Image, Layer, Packing, Tool},
};
use microagent_types::{Arch, ImageSource};

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn images(&self) -> PathBuf {
        self.path("images")
    }

    fn layout(&self, image: Image) -> ImageSource {
        image.write_layout(&self.path("layout")).unwrap();
        format!("oci:{}", self.path("layout").display())
            .parse()
            .unwrap()
    }

    fn ensure(&self, source: &ImageSource) -> Result<BuiltImage, RootfsError> {
        ensure(&self.images(), source, &options())
    }

    /// What is in the cache beside its lock.
    fn left(&self) -> Vec<String> {
        left(&self.images())
    }
}

fn left(images: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(images).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "lock").collect()
}

fn options() -> BuildOptions {
    let arch = Arch::current().unwrap();
    BuildOptions {
        arch,
        limits: Limits::ORDINARY,
        cancel: CancelToken::new(),
    }
}

fn ensure(
    images: &Path,
    source: &ImageSource,
    options: &BuildOptions,
) -> Result<BuiltImage, RootfsError> {
    // The smaller shape, whose bytes can all be looked at.
    ImageStore::open(images)
        .unwrap()
        .with_shape(DiskShape::Fitted)
        .ensure(source, options, &mut Silent)
}

fn chain(error: &RootfsError) -> String {
    let mut text = error.to_string();
    let mut at: &dyn Error = error;
    while let Some(source) = at.source() {
        text = format!("{text}: {source}");
        at = source;
    }
    text
}

fn two_layers() -> Image {
    Image::new()
        .layer(
            Layer::new()
                .folder("etc", 0o755)
                .file("etc/a", 0o644, &vec![7; 100_000]),
        )
        .layer(Layer::new().file("etc/b", 0o644, &vec![8; 100_000]))
}

#[test]
fn every_flaw_is_an_error_of_its_own_and_leaves_nothing() {
    for (flaw, part) in [
        (Flaw::LayerByteFlipped, "is damaged"),
        (Flaw::LayerTruncated, "is damaged: it has"),
        (Flaw::LayerMissing, "is not in the image"),
        (Flaw::DiffIdWrong, "its content has the SHA-256"),
        (Flaw::ManifestBroken, "is damaged"),
        (Flaw::IndexMissing, "is not an OCI layout folder"),
        (Flaw::IndexBroken, "the document `index.json` is damaged"),
        (Flaw::OtherArchitecture, "is not there for linux/"),
    ] {
        let bench = Bench::new();
        let source = bench.layout(two_layers().flaw(flaw));
        let error = bench.ensure(&source).unwrap_err();
        assert!(chain(&error).contains(part), "{flaw:?}: {}", chain(&error));
        assert_eq!(bench.left(), Vec::<String>::new(), "{flaw:?}");
        let integrity = !matches!(flaw, Flaw::IndexMissing | Flaw::OtherArchitecture);
        assert_eq!(error.is_integrity(), integrity, "{flaw:?}");
    }
    let bench = Bench::new();
    let source = bench.layout(two_layers());
    bench.ensure(&source).unwrap();
}

#[test]
fn a_flipped_byte_anywhere_in_a_layer_is_said_to_be_damage() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let bench = Bench::new();
        let layer = Layer::new()
            .packed(packing)
            .file("a", 0o644, b"some content");
        let source = bench.layout(Image::new().layer(layer));
        let blobs = bench.path("layout/blobs/sha256");
        let blob = std::fs::read_dir(blobs)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| !std::fs::read(path).unwrap().starts_with(b"{"))
            .unwrap();
        let sound = std::fs::read(&blob).unwrap();
        for at in (0..sound.len()).step_by(1 + sound.len() / 60) {
            let mut broken = sound.clone();
            broken[at] ^= 1;
            std::fs::write(&blob, broken).unwrap();
            let error = bench.ensure(&source).unwrap_err();
            assert!(
                matches!(
                    error,
                    RootfsError::Source(
                        OciError::DigestMismatch { .. } | OciError::ContentMismatch { .. }
                    )
                ),
                "{packing:?} {at}: {}",
                chain(&error)
            );
        }
        assert!(bench.left().is_empty());
    }
}

#[test]
fn a_path_out_of_the_root_is_refused_by_name() {
    for (name, part) in [
        (&b"/etc/passwd"[..], "the path `/etc/passwd` is absolute"),
        (b"../outside", "the path `../outside` leads upwards"),
        (
            b"a/../../outside",
            "the path `a/../../outside` leads upwards",
        ),
    ] {
        let bench = Bench::new();
        let layer = Layer::new()
            .file("fine", 0o644, b"x")
            .file_named_raw(name, b"evil");
        let source = bench.layout(Image::new().layer(layer));
        let error = bench.ensure(&source).unwrap_err();
        assert!(chain(&error).contains(part), "{}", chain(&error));
        assert!(matches!(error, RootfsError::Path { .. }));
        assert!(bench.left().is_empty());
    }
}

#[test]
fn a_link_that_points_out_stays_inside() {
    let bench = Bench::new();
    let outside = bench.path("outside");
    std::fs::create_dir(&outside).unwrap();
    let layer = Layer::new()
        .symlink("absolute", &outside.display().to_string())
        .file("absolute/planted", 0o644, b"evil")
        .symlink("up", "../../../../../../..")
        .file("up/planted", 0o644, b"evil");
    let source = bench.layout(Image::new().layer(layer));
    let built = bench.ensure(&source).unwrap();
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert!(!Path::new("/planted").exists());
    let listed = Tool::new("debugfs")
        .args(["-R", "ls -p /"])
        .arg(&built.disk)
        .output_text()
        .unwrap();
    assert!(listed.contains("/planted/"), "{listed}");
}

#[test]
fn sources_that_are_not_there_or_something_else_are_named() {
    let bench = Bench::new();
    std::fs::write(bench.path("noise"), [7; 4096]).unwrap();
    std::fs::create_dir(bench.path("empty")).unwrap();
    std::fs::write(bench.path("nothing"), b"").unwrap();
    for (source, part) in [
        ("oci:PATH/absent", "there is no image at"),
        ("oci-archive:PATH/absent", "there is no image at"),
        ("docker-archive:PATH/absent", "there is no image at"),
        ("rootfs:PATH/absent.tar", "there is no image at"),
        ("oci:PATH/empty", "is not an OCI layout folder"),
        ("oci:PATH/noise", "is not an OCI layout folder"),
        ("oci-archive:PATH/noise", "is not an OCI archive"),
        ("oci-archive:PATH/empty", "is not an OCI archive"),
        (
            "docker-archive:PATH/noise",
            "is not an archive of `docker save`",
        ),
        (
            "docker-archive:PATH/nothing",
            "is not an archive of `docker save`",
        ),
        ("rootfs:PATH/noise", "cannot be read"),
        ("rootfs:PATH/empty", "is not a tarball"),
        (
            "debian:12",
            "there is no stored image `docker.io/library/debian:12`",
        ),
    ] {
        let path = bench.folder.path().display().to_string();
        let source = source.replace("PATH", &path).parse().unwrap();
        let error = bench.ensure(&source).unwrap_err();
        assert!(chain(&error).contains(part), "{source}: {}", chain(&error));
        assert!(bench.left().is_empty(), "{source}");
    }
}

#[test]
fn a_name_is_needed_where_there_are_several_and_must_be_there() {
    let bench = Bench::new();
    let layout = bench.path("layout");
    let umoci = |words: &[&str]| Tool::new("umoci").args(words).ok().unwrap();
    let image = |tag: &str| format!("{}:{tag}", layout.display());
    umoci(&["init", "--layout", &layout.display().to_string()]);
    umoci(&["new", "--image", &image("one")]);
    umoci(&["new", "--image", &image("two")]);
    umoci(&["config", "--image", &image("two"), "--config.cmd", "second"]);
    let source = |tag: &str| format!("oci:{}{tag}", layout.display()).parse().unwrap();
    let error = bench.ensure(&source("")).unwrap_err();
    let RootfsError::Source(OciError::TagNeeded { available }) = error else {
        panic!("{error}")
    };
    assert_eq!(available, ["one", "two"]);
    let error = bench.ensure(&source(":three")).unwrap_err();
    let RootfsError::Source(OciError::TagMissing { available, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(available, ["one", "two"]);
    assert_eq!(
        bench.ensure(&source(":two")).unwrap().config.command,
        ["second"]
    );
}

#[test]
fn a_layer_beyond_the_limit_is_refused_and_one_at_it_is_not() {
    let bench = Bench::new();
    // One header, two thousand blocks of content, two blocks of end: a bomb packs well.
    let layer = Layer::new().file("zeros", 0o644, &vec![0; 2000 * 512]);
    let source = bench.layout(Image::new().layer(layer));
    let with = |layer_plain_bytes_max| BuildOptions {
        limits: Limits {
            layer_plain_bytes_max,
            ..Limits::ORDINARY
        },
        ..options()
    };
    let plain = (1 + 2000 + 2) * 512;
    let error = ensure(&bench.images(), &source, &with(plain - 1)).unwrap_err();
    assert!(
        matches!(error, RootfsError::Source(OciError::LayerTooLarge { .. })),
        "{error}"
    );
    assert!(bench.left().is_empty());
    ensure(&bench.images(), &source, &with(plain)).unwrap();
}

#[test]
fn layers_that_are_too_large_together_are_refused_and_at_the_limit_they_are_not() {
    let bench = Bench::new();
    // One header, a thousand blocks of content, two blocks of end, twice.
    let layer = |name| Layer::new().file(name, 0o644, &vec![0; 1000 * 512]);
    let source = bench.layout(Image::new().layer(layer("a")).layer(layer("b")));
    let with = |image_plain_bytes_max| BuildOptions {
        limits: Limits {
            image_plain_bytes_max,
            ..Limits::ORDINARY
        },
        ..options()
    };
    let plain = 2 * (1 + 1000 + 2) * 512;
    let error = ensure(&bench.images(), &source, &with(plain - 1)).unwrap_err();
    let expected = plain - 1;
    assert!(
        matches!(error, RootfsError::Source(OciError::ImageTooLarge { limit_bytes }) if limit_bytes == expected),
        "{error}"
    );
    assert!(error.is_integrity());
    assert_eq!(bench.left(), [""; 0]);
    ensure(&bench.images(), &source, &with(plain)).unwrap();
}

#[test]
fn a_bomb_ends_at_its_limit_whatever_it_unpacks_to() {
    for packing in [Packing::Gzip, Packing::Zstd] {
        let bench = Bench::new();
        let layer = Layer::new().packed(packing);
        let layer = layer.file("zeros", 0o644, &vec![0; 256 << 20]);
        let source = bench.layout(Image::new().layer(layer));
        let options = BuildOptions {
            limits: Limits {
                layer_plain_bytes_max: 1 << 20,
                ..Limits::ORDINARY
            },
            ..options()
        };
        let mut told = 0;
        let store = ImageStore::open(&bench.images()).unwrap();
        let error = store
            .ensure(&source, &options, &mut |_| told += 1)
            .unwrap_err();
        assert!(
            matches!(error, RootfsError::Source(OciError::LayerTooLarge { .. })),
            "{error}"
        );
        assert_eq!(bench.left(), [""; 0]);
    }
}

#[test]
fn an_end_that_is_asked_for_at_any_step_leaves_nothing_and_the_next_build_works() {
    let bench = Bench::new();
    let source = bench.layout(two_layers());
    let mut steps = 0;
    loop {
        let options = options();
        let cancel = options.cancel.clone();
        let mut seen = 0;
        let mut progress = |_: ProgressStep| {
            if seen == steps {
                cancel.cancel();
            }
            seen += 1;
        };
        let store = ImageStore::open(&bench.images()).unwrap();
        match store.ensure(&source, &options, &mut progress) {
            Ok(_) => break,
            Err(error) => assert!(error.is_cancelled(), "{steps}: {}", chain(&error)),
        }
        assert!(bench.left().is_empty(), "{steps}");
        steps += 1;
    }
    assert!(steps >= 4, "only {steps} steps were seen");
    assert_eq!(bench.left().len(), 1);
}

#[test]
fn a_full_disk_is_said_so_and_leaves_nothing() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount a small file system");
        return;
    }
    let bench = Bench::new();
    let mut noise = vec![0u8; 12 << 20];
    let mut state = 1u64;
    for byte in &mut noise {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *byte = state.to_be_bytes()[0];
    }
    let source = bench.layout(Image::new().layer(Layer::new().file("noise", 0o644, &noise)));
    let small = bench.path("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = Tool::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs"])
        .arg(&small)
        .ok();
    if let Err(error) = mounted {
        eprintln!("skipped: this host mounts nothing for us: {error:#}");
        return;
    }
    let images = small.join("images");
    // Less than there is room for by its layers, and more than that on a disk.
    let dense = Image::new().layer(Layer::new().file("dense", 0o644, &vec![7; 12 << 20]));
    dense.write_layout(&bench.path("dense")).unwrap();
    let dense = format!("oci:{}", bench.path("dense").display());
    let dense = dense.parse().unwrap();
    let results = [&source, &dense].map(|source| ensure(&images, source, &options()));
    let left = left(&images);
    Tool::new("umount").arg(&small).ok().unwrap();
    let [before, amid] = results.map(Result::unwrap_err);
    assert!(
        matches!(before, RootfsError::NoRoom { needed, .. } if needed.bytes() >= 12 << 20),
        "{}",
        chain(&before)
    );
    assert!(
        matches!(amid, RootfsError::NoSpace { .. }),
        "{}",
        chain(&amid)
    );
    assert!(before.is_out_of_space() && amid.is_out_of_space());
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_a_dead_builder_left_goes_with_the_next_build_and_a_living_one_stays() {
    let bench = Bench::new();
    let source = bench.layout(two_layers());
    ImageStore::open(&bench.images()).unwrap();
    let folder = |name: &str| {
        let folder = bench.images().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("disk.ext4"), b"half").unwrap();
        std::fs::File::create(folder.join("lock")).unwrap()
    };
    let _dead = folder("building-dead");
    let living = folder("building-living");
    living.lock().unwrap();
    bench.ensure(&source).unwrap();
    let mut left = bench.left();
    left.retain(|name| !name.starts_with("sha256-"));
    assert_eq!(left, ["building-living"]);
}

#[test]
fn an_image_that_is_not_whole_is_built_again() {
    let bench = Bench::new();
    let source = bench.layout(two_layers());
    let built = bench.ensure(&source).unwrap();
    let sound = std::fs::read(&built.disk).unwrap();
    let record = built.disk.with_file_name("image.json");
    let spoil: [&dyn Fn(); 4] = [
        &|| std::fs::remove_file(&built.disk).unwrap(),
        &|| std::fs::write(&built.disk, b"short").unwrap(),
        &|| std::fs::write(&record, b"{\"schema\":").unwrap(),
        &|| std::fs::remove_file(&record).unwrap(),
    ];
    for spoil in spoil {
        spoil();
        let again = bench.ensure(&source).unwrap();
        assert!(!again.reused);
        assert!(std::fs::read(&again.disk).unwrap() == sound);
        assert_eq!(bench.left().len(), 1);
    }
}

#[test]
fn several_builds_of_one_image_at_once_end_in_one_image() {
    let bench = Bench::new();
    let source = bench.layout(two_layers());
    let built: Vec<BuiltImage> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| bench.ensure(&source).unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(
        built
            .iter()
            .all(|image| image.disk == built[0].disk && image.disk.is_file())
    );
    assert_eq!(bench.left().len(), 1);
}

#[test]
fn a_tarball_is_an_image_in_every_packing_and_its_marks_are_files() {
    let bench = Bench::new();
    let script = "mkdir t; printf x > t/.wh.file; printf y > t/file; tar -C t -cf r.tar .; \
        gzip -k r.tar; zstd -q r.tar";
    Tool::new("bash")
        .args(["-ec", script])
        .within(bench.folder.path())
        .ok()
        .unwrap();
    for name in ["r.tar", "r.tar.gz", "r.tar.zst"] {
        let source = format!("rootfs:{}", bench.path(name).display())
            .parse()
            .unwrap();
        let built = bench.ensure(&source).unwrap();
        assert_eq!(built.config, microagent_rootfs::ImageConfig::default());
        let listed = Tool::new("debugfs")
            .args(["-R", "ls -p /"])
            .arg(&built.disk)
            .output_text()
            .unwrap();
        assert!(
            listed.contains("/.wh.file/") && listed.contains("/file/"),
            "{name}: {listed}"
        );
    }
}

#[test]
fn a_data_disk_is_empty_or_holds_a_tarball_and_says_when_it_is_too_small() {
    use microagent_rootfs::{ImageSize, data_disk};
    let bench = Bench::new();
    for mib in [16, 100, 5000] {
        let disk = bench.path(&format!("empty{mib}"));
        let size = microagent_types::ByteSize::from_mib(mib);
        data_disk::create_empty(&disk, size, [mib.to_le_bytes()[0]; 16]).unwrap();
        fsck::clean(&disk).unwrap();
        assert_eq!(std::fs::metadata(&disk).unwrap().len(), mib << 20);
    }
    let script = "mkdir t; head -c 30M /dev/urandom > t/file; tar -C t -cf d.tar .";
    Tool::new("bash")
        .args(["-ec", script])
        .within(bench.folder.path())
        .ok()
        .unwrap();
    let source = format!("rootfs:{}", bench.path("d.tar").display())
        .parse()
        .unwrap();
    let make = |name: &str, size| {
        data_disk::create_from_tarball(&bench.path(name), &source, size, &options(), &mut Silent)
    };
    let error = make("small", ImageSize::Exact(20 << 20)).unwrap_err();
    let RootfsError::TooSmall { needed, .. } = error else {
        panic!("{}", chain(&error))
    };
    assert!(!bench.path("small").exists());
    make("enough", ImageSize::Exact(needed.bytes())).unwrap();
    make("fitted", ImageSize::Fit).unwrap();
    fsck::clean(&bench.path("enough")).unwrap();
    fsck::clean(&bench.path("fitted")).unwrap();
}

#[test]
fn the_configuration_comes_with_the_image() {
    let bench = Bench::new();
    let config = microagent_test::image::ImageConfig {
        entrypoint: vec!["/bin/tool".into()],
        command: vec!["serve".into()],
        env: vec!["KEY=VALUE".into()],
        user: "1000:1000".into(),
        workdir: "/srv".into(),
        stop_signal: "SIGINT".into(),
    };
    let archive = bench.path("image.tar");
    let layer = Layer::new().packed(Packing::Plain).file("a", 0o644, b"a");
    Image::new()
        .layer(layer)
        .config(config)
        .write_docker_archive(&archive)
        .unwrap();
    let source = format!("docker-archive:{}:example/made:latest", archive.display());
    for _ in 0..2 {
        let built = bench.ensure(&source.parse().unwrap()).unwrap();
        assert_eq!(built.config.entrypoint, ["/bin/tool"]);
        assert_eq!(built.config.command, ["serve"]);
        assert_eq!(built.config.env, ["KEY=VALUE"]);
        assert_eq!(built.config.user.as_deref(), Some("1000:1000"));
        assert_eq!(built.config.workdir.as_deref(), Some("/srv"));
        assert_eq!(built.config.stop_signal.as_deref(), Some("SIGINT"));
        assert_eq!(built.name.as_deref(), Some("example/made:latest"));
    }
}
