//! Images from a real registry, over a network that does what networks do: each comes whole and
//! right, or is an error that names what failed, and nothing wrong is kept.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test makes its files itself, and says what it left out"
)]

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use microagent_oci::registry::{CredentialFiles, Waits};
use microagent_rootfs::{
    BuildOptions, BuiltImage, CancelToken, ImageStore, Limits, OciError, ProgressStep, PullPolicy,
    Registries, RegistryError, RegistryOptions, RootfsError, Silent,
};
use microagent_test::{
    fsck,
    image::{Image, Layer},
    registry::{Access, Fault, FaultProxy, Registry, Request, TestAuthority},
};
use microagent_types::{Arch, ImageRef};

/// Bytes of the larger layer: many reads, and more than one chunk of everything.
const LARGE: usize = 3 << 20;

/// One registry for all tests of this file, with one image in it.
struct Shared {
    registry: Registry,
    _folder: tempfile::TempDir,
}

static SHARED: LazyLock<Option<Shared>> = LazyLock::new(|| {
    if let Some(program) = Registry::missing_program() {
        eprintln!("skipped: `{program}` is not installed");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(folder.path(), Access::Anybody, None).unwrap();
    let layout = folder.path().join("layout");
    image().write_layout(&layout).unwrap();
    let source = format!("oci:{}:latest", layout.display());
    registry.fill(&source, "team/tool:1").unwrap();
    Some(Shared {
        registry,
        _folder: folder,
    })
});

/// Bytes that do not pack, so that layers are as large on the way as on the disk.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

fn image() -> Image {
    Image::new()
        .layer(Layer::new().file("large", 0o644, &noise(LARGE)))
        .layer(Layer::new().file("small", 0o755, b"#!/bin/sh\n"))
}

struct Bench {
    folder: tempfile::TempDir,
    options: RegistryOptions,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            options: RegistryOptions {
                insecure: Vec::new(),
                credentials: CredentialFiles::default(),
                waits: Waits {
                    connect: Duration::from_secs(20),
                    read: Duration::from_secs(20),
                    tries_max: 4,
                    pause_first: Duration::from_millis(10),
                    pause_max: Duration::from_millis(50),
                },
                downloads_max: 4,
            },
        }
    }

    fn images(&self) -> PathBuf {
        self.folder.path().join("images")
    }

    fn pull(&self, reference: &str) -> Result<BuiltImage, RootfsError> {
        self.pull_as(reference, PullPolicy::Always, &options())
    }

    fn pull_as(
        &self,
        reference: &str,
        policy: PullPolicy,
        options: &BuildOptions,
    ) -> Result<BuiltImage, RootfsError> {
        let reference: ImageRef = reference.parse().unwrap();
        let store = ImageStore::open(&self.images()).unwrap();
        let registries = Registries::new(self.options.clone());
        store.pull(&reference, policy, &registries, options, &mut Silent)
    }

    /// Files in the cache that hold something of an image.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for folder in [
            self.images(),
            self.images().join("blobs"),
            self.images().join("names"),
        ] {
            let Ok(entries) = std::fs::read_dir(folder) else {
                continue;
            };
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            left.extend(names.filter(|name| !matches!(name.as_str(), "lock" | "blobs" | "names")));
        }
        left
    }
}

/// Whether a file of the cache is a blob that is being fetched.
fn is_half(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "part")
}

fn options() -> BuildOptions {
    BuildOptions {
        arch: Arch::current().unwrap(),
        limits: Limits::ORDINARY,
        cancel: CancelToken::new(),
    }
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

/// A proxy that does `fault` to the first `times` requests for the large layer.
fn with_fault(fault: Fault, times: usize) -> Option<(FaultProxy, Arc<AtomicUsize>)> {
    let shared = SHARED.as_ref()?;
    let met = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&met);
    let large = large_layer(&shared.registry);
    let script = move |request: &Request| {
        if request.path.ends_with(&large) && counted.fetch_add(1, Ordering::SeqCst) < times {
            return fault.clone();
        }
        Fault::None
    };
    let proxy = FaultProxy::start(shared.registry.address(), script).unwrap();
    Some((proxy, met))
}

/// The digest of the large layer, from the image itself.
fn large_layer(registry: &Registry) -> String {
    static DIGEST: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let find = || {
        let bench = Bench::new();
        bench.pull(&registry.reference("team/tool:1")).unwrap();
        let blobs = std::fs::read_dir(bench.images().join("blobs")).unwrap();
        let largest = blobs
            .map(|entry| entry.unwrap())
            .max_by_key(|entry| entry.metadata().unwrap().len())
            .unwrap();
        let name = largest.file_name().into_string().unwrap();
        name.replacen("sha256-", "sha256:", 1)
    };
    DIGEST.get_or_init(find).clone()
}

#[test]
fn a_pulled_image_is_whole_and_a_second_pull_fetches_nothing() {
    let Some(shared) = SHARED.as_ref() else {
        return;
    };
    let bench = Bench::new();
    let reference = shared.registry.reference("team/tool:1");
    let built = bench.pull(&reference).unwrap();
    fsck::clean(&built.disk).unwrap();
    let pulled = built.pulled.unwrap();
    assert!(pulled.changed && pulled.downloaded_bytes > LARGE as u64);
    assert_eq!(pulled.reused_layers, 0);
    let again = bench.pull(&reference).unwrap();
    assert!(again.reused && again.disk == built.disk);
    assert!(!again.pulled.unwrap().changed);
    assert_eq!(again.pulled.unwrap().downloaded_bytes, 0);

    let pinned = format!(
        "{}@{}",
        shared.registry.reference("team/tool"),
        built.digest
    );
    assert_eq!(bench.pull(&pinned).unwrap().digest, built.digest);
}

#[test]
fn what_is_known_here_is_taken_without_a_registry_and_never_means_never() {
    let Some(shared) = SHARED.as_ref() else {
        return;
    };
    let proxy = FaultProxy::start(shared.registry.address(), |_| Fault::None).unwrap();
    let bench = Bench::new();
    let reference = proxy.reference("team/tool:1");
    let never = bench.pull_as(&reference, PullPolicy::Never, &options());
    assert!(matches!(never, Err(RootfsError::NotStored { .. })));
    assert!(proxy.seen().is_empty());
    bench
        .pull_as(&reference, PullPolicy::Missing, &options())
        .unwrap();
    let asked = proxy.seen().len();
    for policy in [PullPolicy::Missing, PullPolicy::Never] {
        let built = bench.pull_as(&reference, policy, &options()).unwrap();
        assert!(built.reused && built.pulled.is_none());
    }
    assert_eq!(proxy.seen().len(), asked);
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let Some((proxy, met)) = with_fault(Fault::CutAfter(LARGE / 2), 1) else {
        return;
    };
    let bench = Bench::new();
    let built = bench.pull(&proxy.reference("team/tool:1")).unwrap();
    fsck::clean(&built.disk).unwrap();
    assert_eq!(met.load(Ordering::SeqCst), 2);
    let ranges: Vec<String> = proxy
        .seen()
        .iter()
        .filter_map(|request| request.header("range").map(ToOwned::to_owned))
        .collect();
    assert_eq!(ranges.len(), 1, "{ranges:?}");
    let from: usize = ranges[0]
        .trim_start_matches("bytes=")
        .trim_end_matches('-')
        .parse()
        .unwrap();
    assert!(from > 0 && from <= LARGE / 2, "{from}");
    // Nothing came twice.
    let total = built.pulled.unwrap().downloaded_bytes;
    assert!(total < (LARGE + LARGE / 4) as u64, "{total}");
}

#[test]
fn a_server_that_knows_no_ranges_gives_the_same_image() {
    let Some(shared) = SHARED.as_ref() else {
        return;
    };
    let large = large_layer(&shared.registry);
    let asked = AtomicUsize::new(0);
    let proxy = FaultProxy::start(shared.registry.address(), move |request| {
        match request.path.ends_with(&large) {
            true if asked.fetch_add(1, Ordering::SeqCst) == 0 => Fault::CutAfter(LARGE / 3),
            true => Fault::WholeBody,
            false => Fault::None,
        }
    })
    .unwrap();
    let bench = Bench::new();
    let built = bench.pull(&proxy.reference("team/tool:1")).unwrap();
    fsck::clean(&built.disk).unwrap();
}

#[test]
fn a_server_that_always_cuts_is_given_up_and_said_to_be_unavailable() {
    let Some((proxy, met)) = with_fault(Fault::CutAfter(1000), usize::MAX) else {
        return;
    };
    let bench = Bench::new();
    let error = bench.pull(&proxy.reference("team/tool:1")).unwrap_err();
    assert!(error.is_unavailable(), "{}", chain(&error));
    assert_eq!(met.load(Ordering::SeqCst), 4);
    assert!(!bench.left().iter().any(|name| is_half(name)));
}

#[test]
fn silence_has_an_end() {
    let Some((proxy, _)) = with_fault(Fault::StallAfter(1000), usize::MAX) else {
        return;
    };
    let mut bench = Bench::new();
    bench.options.waits.read = Duration::from_millis(700);
    bench.options.waits.tries_max = 2;
    let error = bench.pull(&proxy.reference("team/tool:1")).unwrap_err();
    let RootfsError::Source(source) = &error else {
        panic!("{error}")
    };
    let stalled = matches!(source.registry(), Some(RegistryError::Stalled { .. }));
    assert!(stalled && error.is_unavailable(), "{}", chain(&error));
}

#[test]
fn a_stalled_download_is_interrupted_at_once() {
    let Some((proxy, _)) = with_fault(Fault::StallAfter(1000), usize::MAX) else {
        return;
    };
    let mut bench = Bench::new();
    bench.options.waits.read = Duration::from_mins(5);
    let options = options();
    let cancel = options.cancel.clone();
    let reference: ImageRef = proxy.reference("team/tool:1").parse().unwrap();
    let store = ImageStore::open(&bench.images()).unwrap();
    let registries = Registries::new(bench.options.clone());
    // Interrupted by whoever sees that the download is under way.
    let mut seen = |step: ProgressStep| {
        if step != ProgressStep::Resolve {
            cancel.cancel();
        }
    };
    let interrupter = options.cancel.clone();
    std::thread::scope(|scope| {
        let watched = proxy.seen().len();
        scope.spawn(move || {
            assert_eq!(watched, 0);
            while proxy
                .seen()
                .iter()
                .filter(|request| request.is_blob())
                .count()
                < 2
            {
                std::thread::yield_now();
            }
            interrupter.cancel();
        });
        let error = store
            .pull(
                &reference,
                PullPolicy::Always,
                &registries,
                &options,
                &mut seen,
            )
            .unwrap_err();
        assert!(error.is_cancelled(), "{}", chain(&error));
    });
    drop(registries);
    let left = bench.left();
    assert!(
        !left
            .iter()
            .any(|name| is_half(name) || name.starts_with("building")),
        "{left:?}"
    );
}

#[test]
fn wrong_bytes_are_named_and_nothing_stays() {
    let faults = [
        Fault::Corrupt(LARGE / 2),
        Fault::Corrupt(0),
        Fault::Truncate(LARGE / 2),
        Fault::Extend(1),
    ];
    for fault in faults {
        let Some((proxy, _)) = with_fault(fault.clone(), usize::MAX) else {
            return;
        };
        let bench = Bench::new();
        let error = bench.pull(&proxy.reference("team/tool:1")).unwrap_err();
        let text = chain(&error);
        let large = large_layer(&SHARED.as_ref().unwrap().registry);
        assert!(error.is_integrity(), "{fault:?}: {text}");
        assert!(text.contains(&large), "{fault:?}: {text}");
        assert_eq!(bench.left(), [""; 0], "{fault:?}");
    }
}

#[test]
fn a_manifest_that_is_not_its_digest_is_refused() {
    let Some(shared) = SHARED.as_ref() else {
        return;
    };
    let proxy = FaultProxy::start(shared.registry.address(), |request| {
        if request.path.contains("/manifests/") {
            Fault::Corrupt(40)
        } else {
            Fault::None
        }
    })
    .unwrap();
    let bench = Bench::new();
    let error = bench.pull(&proxy.reference("team/tool:1")).unwrap_err();
    assert!(error.is_integrity(), "{}", chain(&error));
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn a_busy_or_failing_server_is_asked_again_and_a_plain_no_is_not() {
    for (status, asked) in [(429, 4), (500, 4), (503, 4), (400, 1), (418, 1)] {
        let Some(shared) = SHARED.as_ref() else {
            return;
        };
        let refused = FaultProxy::start(shared.registry.address(), move |request| {
            if request.path.contains("/manifests/") {
                Fault::status(status)
            } else {
                Fault::None
            }
        })
        .unwrap();
        let error = Bench::new()
            .pull(&refused.reference("team/tool:1"))
            .unwrap_err();
        let tries = refused
            .seen()
            .iter()
            .filter(|r| r.path.contains("/manifests/"))
            .count();
        assert_eq!(tries, asked, "{status}: {}", chain(&error));
        assert_eq!(error.is_unavailable(), asked > 1, "{status}");

        let Some((once, met)) = with_fault(Fault::status(status), 1) else {
            return;
        };
        let pulled = Bench::new().pull(&once.reference("team/tool:1"));
        assert_eq!(pulled.is_ok(), asked > 1, "{status}");
        assert_eq!(met.load(Ordering::SeqCst), asked.min(2), "{status}");
    }
}

#[test]
fn what_is_not_there_or_not_for_us_is_not_found() {
    let Some(shared) = SHARED.as_ref() else {
        return;
    };
    let bench = Bench::new();
    let error = bench
        .pull(&shared.registry.reference("team/none:1"))
        .unwrap_err();
    assert!(
        matches!(&error, RootfsError::Source(source) if source.is_not_found()),
        "{error}"
    );
    for status in [401, 403, 404] {
        let proxy = FaultProxy::start(shared.registry.address(), move |request| {
            if request.path == "/v2/" {
                return Fault::None;
            }
            Fault::Answer {
                status,
                headers: vec![("WWW-Authenticate".into(), "Basic realm=\"x\"".into())],
                body: String::new(),
            }
        })
        .unwrap();
        let error = bench.pull(&proxy.reference("team/tool:1")).unwrap_err();
        assert!(
            matches!(&error, RootfsError::Source(source) if source.is_not_found()),
            "{error}"
        );
    }
}

/// A login file for a registry.
fn login(folder: &Path, host: &str, user: &str, password: &str) -> CredentialFiles {
    let path = folder.join("auth.json");
    let file =
        format!(r#"{{"auths":{{"{host}":{{"username":"{user}","password":"{password}"}}}}}}"#);
    std::fs::write(&path, file).unwrap();
    CredentialFiles {
        named: Some(path),
        ..CredentialFiles::default()
    }
}

#[test]
fn a_password_opens_a_registry_and_a_wrong_one_is_said_to_be_wrong() {
    if SHARED.is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(folder.path(), Access::Password, None).unwrap();
    let layout = folder.path().join("layout");
    image().write_layout(&layout).unwrap();
    registry
        .fill(&format!("oci:{}:latest", layout.display()), "team/tool:1")
        .unwrap();
    let reference = registry.reference("team/tool:1");
    let host = registry.address().to_string();
    let mut bench = Bench::new();
    let anonymous = bench.pull(&reference).unwrap_err();
    assert!(matches!(&anonymous, RootfsError::Source(source) if source.is_not_found()));

    bench.options.credentials = login(folder.path(), &host, Registry::USER, "wrong");
    let error = bench.pull(&reference).unwrap_err();
    let RootfsError::Source(source) = &error else {
        panic!("{error}")
    };
    assert!(
        matches!(source.registry(), Some(RegistryError::Denied { .. })),
        "{error}"
    );
    assert!(!chain(&error).contains("wrong"));

    bench.options.credentials = login(folder.path(), &host, Registry::USER, Registry::PASSWORD);
    bench.pull(&reference).unwrap();
}

#[test]
fn a_credential_goes_to_its_registry_and_not_where_that_redirects() {
    let Some(shared) = SHARED.as_ref() else {
        return;
    };
    let elsewhere =
        Arc::new(FaultProxy::start(shared.registry.address(), |_| Fault::None).unwrap());
    let to = elsewhere.address();
    let proxy = FaultProxy::start(shared.registry.address(), move |request| {
        match request.header("authorization") {
            None if request.path != "/v2/" => Fault::Answer {
                status: 401,
                headers: vec![("WWW-Authenticate".into(), "Basic realm=\"x\"".into())],
                body: String::new(),
            },
            _ if request.is_blob() => {
                Fault::redirect(format!("http://{to}{}?signed=1", request.path))
            }
            _ => Fault::WithoutAuthorization,
        }
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::new();
    let host = proxy.address().to_string();
    bench.options.credentials = login(folder.path(), &host, "me", "secret");
    let built = bench.pull(&proxy.reference("team/tool:1")).unwrap();
    fsck::clean(&built.disk).unwrap();
    assert!(
        proxy
            .seen()
            .iter()
            .any(|request| request.header("authorization").is_some())
    );
    assert!(elsewhere.seen().len() >= 3);
    for request in elsewhere.seen() {
        assert_eq!(request.header("authorization"), None, "{}", request.path);
    }
}

#[test]
fn a_token_is_fetched_with_the_password_and_shown_to_the_registry_alone() {
    let Some(shared) = SHARED.as_ref() else {
        return;
    };
    let tokens = Arc::new(
        FaultProxy::start(shared.registry.address(), |_| Fault::Answer {
            status: 200,
            headers: Vec::new(),
            body: r#"{"token":"t0ken"}"#.into(),
        })
        .unwrap(),
    );
    let realm = format!("http://{}/token", tokens.address());
    let proxy = FaultProxy::start(shared.registry.address(), move |request| {
        match request.header("authorization") {
            Some("Bearer t0ken") => Fault::WithoutAuthorization,
            _ if request.path == "/v2/" => Fault::None,
            _ => Fault::Answer {
                status: 401,
                headers: vec![(
                    "WWW-Authenticate".into(),
                    format!("Bearer realm=\"{realm}\",service=\"test\""),
                )],
                body: String::new(),
            },
        }
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::new();
    bench.pull(&proxy.reference("team/tool:1")).unwrap();
    assert_eq!(tokens.seen()[0].header("authorization"), None);
    assert_eq!(
        tokens.seen()[0].path,
        "/token?service=test&scope=repository%3Ateam%2Ftool%3Apull"
    );
    let asked = tokens.seen().len();
    assert_eq!(asked, 1, "one token serves the whole pull");

    let mut other = Bench::new();
    let host = proxy.address().to_string();
    other.options.credentials = login(folder.path(), &host, "me", "secret");
    other.pull(&proxy.reference("team/tool:1")).unwrap();
    let with_password = tokens.seen()[asked].clone();
    assert_eq!(
        with_password.header("authorization"),
        Some("Basic bWU6c2VjcmV0")
    );
    assert!(!with_password.path.contains("secret"));
    for request in proxy.seen() {
        let shown = request.header("authorization");
        assert!(matches!(shown, None | Some("Bearer t0ken")), "{shown:?}");
    }
    bench.options.credentials = login(folder.path(), "another.example", "me", "secret");
    bench.pull(&proxy.reference("team/tool:1")).unwrap();
    assert_eq!(tokens.seen().last().unwrap().header("authorization"), None);
}

#[test]
fn a_certificate_of_nobody_is_refused_unless_the_registry_was_named() {
    if SHARED.is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let authority = TestAuthority::make(folder.path()).unwrap();
    let registry = Registry::start(folder.path(), Access::Anybody, Some(&authority)).unwrap();
    let layout = folder.path().join("layout");
    image().write_layout(&layout).unwrap();
    registry
        .fill(&format!("oci:{}:latest", layout.display()), "team/tool:1")
        .unwrap();
    let reference = registry.reference("team/tool:1");
    let mut bench = Bench::new();
    let error = bench.pull(&reference).unwrap_err();
    let RootfsError::Source(OciError::Registry(source)) = &error else {
        panic!("{}", chain(&error));
    };
    assert!(
        matches!(source, RegistryError::Certificate { .. }),
        "{}",
        chain(&error)
    );
    bench.options.insecure = vec![registry.address().to_string().parse().unwrap()];
    bench.pull(&reference).unwrap();
}

#[test]
fn two_that_want_the_same_image_fetch_it_once() {
    let Some(shared) = SHARED.as_ref() else {
        return;
    };
    let proxy = FaultProxy::start(shared.registry.address(), |_| Fault::None).unwrap();
    let bench = Bench::new();
    let reference = proxy.reference("team/tool:1");
    let large = large_layer(&shared.registry);
    let disks: Vec<PathBuf> = std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| bench.pull(&reference)))
            .collect();
        pulls
            .into_iter()
            .map(|pull| pull.join().unwrap().unwrap().disk)
            .collect()
    });
    assert!(disks.windows(2).all(|pair| pair[0] == pair[1]));
    let fetched = proxy
        .seen()
        .iter()
        .filter(|r| r.path.ends_with(&large))
        .count();
    assert_eq!(fetched, 1);
}

#[test]
fn a_shared_layer_is_fetched_once_and_a_kept_one_that_was_damaged_is_fetched_anew() {
    let Some(shared) = SHARED.as_ref() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout");
    image()
        .layer(Layer::new().file("more", 0o644, b"more"))
        .write_layout(&layout)
        .unwrap();
    shared
        .registry
        .fill(&format!("oci:{}:latest", layout.display()), "team/more:1")
        .unwrap();
    let bench = Bench::new();
    bench
        .pull(&shared.registry.reference("team/tool:1"))
        .unwrap();
    let more = shared.registry.reference("team/more:1");
    let large = large_layer(&shared.registry).replacen(':', "-", 1);
    let kept = bench.images().join("blobs").join(&large);
    let mut bytes = std::fs::read(&kept).unwrap();
    bytes[LARGE / 2] ^= 1;
    std::fs::write(&kept, &bytes).unwrap();
    let built = bench.pull(&more).unwrap();
    assert_ne!(std::fs::read(&kept).unwrap(), bytes);
    let pulled = built.pulled.unwrap();
    assert!(
        pulled.downloaded_bytes > LARGE as u64 && pulled.reused_layers == 1,
        "{pulled:?}"
    );
    fsck::clean(&built.disk).unwrap();
}
