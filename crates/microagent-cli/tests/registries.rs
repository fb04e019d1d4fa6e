//! `microagent image pull` as the environment has it: through proxies, past them, and with the programs
//! that keep people's passwords. A real registry behind a real proxy.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests look at the world from outside the product's own doors, and say what they left out"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use microagent_test::cli::{Finished, Program};
use microagent_test::home::Home;
use microagent_test::image::{Image, Layer};
use microagent_test::registry::{Access, ForwardProxy, Registry, TestAuthority};

/// A host that only the proxy knows; the certificate of the tests is for it too.
const HOST: &str = "registry.test:5000";

/// A registry with an image in it, and a home for the command.
struct Bench {
    home: Home,
    registry: Registry,
    authority: Option<TestAuthority>,
}

impl Bench {
    /// `None` where the programs for it are missing, which is said.
    fn new(access: Access, tls: bool) -> Option<Self> {
        if let Some(program) = Registry::missing_program() {
            eprintln!("skipped: `{program}` is not installed");
            return None;
        }
        let home = Home::new().unwrap();
        let folder = home.work_dir().join("registry");
        std::fs::create_dir(&folder).unwrap();
        let authority = tls.then(|| TestAuthority::make(&folder).unwrap());
        let registry = Registry::start(&folder, access, authority.as_ref()).unwrap();
        let layout = home.work_dir().join("layout");
        let layer = Layer::new().file("content", 0o644, b"content");
        Image::new().layer(layer).write_layout(&layout).unwrap();
        registry
            .fill(&format!("oci:{}:latest", layout.display()), "team/tool:1")
            .unwrap();
        Some(Self {
            home,
            registry,
            authority,
        })
    }

    fn pull(&self, flags: &[&str], reference: &str, environment: &[(&str, &str)]) -> Finished {
        let mut program = Program::at(env!("CARGO_BIN_EXE_microagent"))
            .of(&self.home)
            .args(["image", "pull"])
            .args(flags.iter().copied())
            .arg(reference);
        if let Some(authority) = &self.authority {
            program = program.env("SSL_CERT_FILE", authority.certificate());
        }
        for (name, value) in environment {
            program = program.env(name, value);
        }
        program.run().unwrap()
    }
}

#[test]
fn https_goes_through_the_proxy_as_a_tunnel_that_shows_nothing() {
    let Some(bench) = Bench::new(Access::Password, true) else {
        return;
    };
    let proxy = ForwardProxy::start(bench.registry.address()).unwrap();
    let auth = bench.home.work_dir().join("auth.json");
    let login = format!(
        r#"{{"auths":{{"{HOST}":{{"username":"{}","password":"{}"}}}}}}"#,
        Registry::USER,
        Registry::PASSWORD
    );
    std::fs::write(&auth, login).unwrap();
    let address = format!("http://me:secret@{}", proxy.address());
    let pulled = bench.pull(
        &[],
        &format!("{HOST}/team/tool:1"),
        &[
            ("HTTPS_PROXY", &address),
            ("REGISTRY_AUTH_FILE", auth.to_str().unwrap()),
        ],
    );
    let printed = pulled.expect_code(0).unwrap().stdout_text();
    assert!(
        printed.starts_with(&format!("{HOST}/team/tool:1@sha256:")),
        "{printed}"
    );
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    for asked in asked {
        assert_eq!(
            (asked.method.as_str(), asked.target.as_str()),
            ("CONNECT", HOST)
        );
        // `me:secret`: the proxy's own login, and nothing of the registry's.
        let own = asked.header("proxy-authorization");
        assert_eq!(own, Some("Basic bWU6c2VjcmV0"));
        assert_eq!(asked.header("authorization"), None);
    }
}

#[test]
fn plain_http_goes_through_the_proxy_where_it_is_allowed() {
    let Some(bench) = Bench::new(Access::Anybody, false) else {
        return;
    };
    let proxy = ForwardProxy::start(bench.registry.address()).unwrap();
    let address = format!("http://{}", proxy.address());
    let both = [("HTTP_PROXY", address.as_str()), ("HTTPS_PROXY", &address)];
    let reference = format!("{HOST}/team/tool:1");
    let refused = bench.pull(&[], &reference, &both);
    assert_ne!(refused.code, Some(0), "nobody allowed plain HTTP");
    let asked = proxy.asked();
    assert!(
        asked.iter().all(|asked| asked.method == "CONNECT"),
        "{asked:?}"
    );

    let pulled = bench.pull(&["--insecure-registry", HOST], &reference, &both);
    pulled.expect_code(0).unwrap();
    let plain: Vec<String> = proxy
        .asked()
        .into_iter()
        .filter(|asked| asked.method == "GET")
        .map(|asked| asked.target)
        .collect();
    let layers = format!("http://{HOST}/v2/team/tool/blobs/sha256:");
    assert!(
        plain.iter().any(|target| target.starts_with(&layers)),
        "{plain:?}"
    );
}

#[test]
fn hosts_that_are_named_and_loopback_ones_are_asked_directly() {
    let Some(bench) = Bench::new(Access::Anybody, false) else {
        return;
    };
    let proxy = ForwardProxy::start(bench.registry.address()).unwrap();
    let address = format!("http://{}", proxy.address());
    let both = [("HTTP_PROXY", address.as_str()), ("HTTPS_PROXY", &address)];
    let direct = bench.pull(&[], &bench.registry.reference("team/tool:1"), &both);
    direct.expect_code(0).unwrap();
    let named = [both[0], both[1], ("NO_PROXY", "example.com,.test")];
    let reference = format!("{HOST}/team/tool:1");
    let unknown = bench.pull(&["--insecure-registry", HOST], &reference, &named);
    assert_ne!(unknown.code, Some(0), "nobody but the proxy knows the host");
    assert_eq!(proxy.asked(), []);
}

/// A program `docker-credential-test` that does what `script` says, and notes what it was asked.
fn helper(bench: &Bench, script: &str) -> PathBuf {
    let folder = bench.home.work_dir().join("helpers");
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("docker-credential-test");
    let text =
        format!("#!/bin/sh\nset -eu\necho \"$1 $(cat)\" >>\"$(dirname \"$0\")/asked\"\n{script}\n");
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn a_credential_helper_is_asked_for_its_registry_and_what_it_says_counts() {
    let Some(bench) = Bench::new(Access::Password, false) else {
        return;
    };
    let host = bench.registry.address().to_string();
    let config = bench.home.work_dir().join("docker");
    std::fs::create_dir(&config).unwrap();
    let search_path = |folder: &PathBuf| {
        let path = std::env::var("PATH").unwrap();
        format!("{}:{path}", folder.display())
    };
    let pull = |script: &str, file: &str| {
        std::fs::write(config.join("config.json"), file).unwrap();
        let folder = helper(&bench, script);
        let _ = std::fs::remove_file(folder.join("asked"));
        let pulled = bench.pull(
            &[],
            &bench.registry.reference("team/tool:1"),
            &[
                ("DOCKER_CONFIG", config.to_str().unwrap()),
                ("PATH", &search_path(&folder)),
            ],
        );
        let asked = std::fs::read_to_string(folder.join("asked")).unwrap_or_default();
        (pulled, asked)
    };
    let for_host = format!(r#"{{"credHelpers":{{"{host}":"test"}}}}"#);
    let answer = |password: &str| {
        format!(
            r#"echo '{{"ServerURL":"{host}","Username":"{}","Secret":"{password}"}}'"#,
            Registry::USER
        )
    };
    let (pulled, asked) = pull(&answer(Registry::PASSWORD), &for_host);
    pulled.expect_code(0).unwrap();
    assert_eq!(asked, format!("get {host}\n"), "it is asked once");

    let general = r#"{"credsStore":"test"}"#;
    let (pulled, asked) = pull(&answer(Registry::PASSWORD), general);
    pulled.expect_code(0).unwrap();
    assert_eq!(asked, format!("get {host}\n"));

    let (refused, _) = pull(&answer("guessed"), &for_host);
    assert_eq!(refused.code, Some(1));
    assert!(!refused.stderr_text().contains("guessed"));

    let nothing = "echo 'credentials not found in native keychain'; exit 1";
    let (anonymous, _) = pull(nothing, &for_host);
    assert!(
        anonymous.stderr_text().contains("log in"),
        "{}",
        anonymous.stderr_text()
    );

    for (script, said) in [
        ("exit 3", "failed with code 3"),
        ("echo no JSON", "gave an answer that is not readable"),
    ] {
        let (broken, _) = pull(script, &for_host);
        let text = broken.stderr_text();
        assert!(
            text.contains("docker-credential-test") && text.contains(said),
            "{text}"
        );
        // The general store may be a program of another installation: the registry is asked all the same.
        let (anonymous, asked) = pull(script, general);
        assert!(!asked.is_empty());
        assert!(
            anonymous.stderr_text().contains("log in"),
            "{}",
            anonymous.stderr_text()
        );
    }

    let (refused, asked) = pull("true", &for_host.replace("test", "../test"));
    assert!(
        refused.stderr_text().contains("not allowed"),
        "{}",
        refused.stderr_text()
    );
    assert_eq!(asked, "", "a name that is a path starts nothing");
}
