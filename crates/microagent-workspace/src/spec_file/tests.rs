//! What is accepted beside what is refused, with the words and places of each refusal.

#![allow(
    clippy::disallowed_methods,
    reason = "a test measures with the plain clock"
)]

use super::{Place, SpecFault, SpecFile, SpecProblem, parse};
use crate::files::FileSource;
use microagent_types::EnvName;
use std::path::Path;
use std::time::{Duration, Instant};

fn home_only(name: &EnvName) -> Option<String> {
    (name.as_str() == "HOME").then(|| "/root".to_owned())
}

fn read(text: &str) -> Result<SpecFile, Vec<SpecProblem>> {
    parse(text, Path::new("/specs"), &home_only)
}

fn accepted(text: &str) -> SpecFile {
    read(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"))
}

/// Places and words of the problems, one a line.
fn problems(text: &str) -> Vec<String> {
    let Err(problems) = read(text) else {
        panic!("accepted: {text}");
    };
    let words = |problem: SpecProblem| {
        let Place { line, column } = problem.place;
        let words = match problem.what {
            SpecFault::Refused { message, .. } => message,
            SpecFault::UnknownKey { key, level, known } => {
                format!("unknown {key} in {level:?} of {}", known.len())
            }
            SpecFault::Planned { key } => format!("planned {key}"),
            SpecFault::UnknownWord { what, value, .. } => format!("{value} is not {what}"),
            SpecFault::Invalid { value, refused } => format!("{value} is not {}", refused.what),
        };
        format!("{line}:{column} {words}")
    };
    problems.into_iter().map(words).collect()
}

const WHOLE: &str = r#"version: 1
name: web
image: oci:./image
profile: small
resources: { memory: 1G, cpus: 2, disk: 20G }
backend: qemu
kernel: ./kernel
env: { MODE: production, VERSION: 1.10, HOME: null, EMPTY: "" }
files:
  - { src: ./site, dst: /srv }
  - { content: "ok\n", dst: /srv/health, mode: "0640", owner: "33:33" }
entrypoint: ["sh", "-c"]
command: [serve, "80"]
idle: false
user: 1000:1000
workdir: /srv
hostname: box
stopSignal: INT
network:
  mode: isolated
  publish: ["8080:80", { host: 0.0.0.0, hostPort: 0, guestPort: 443 }]
  reach: [local]
mediation: { port: 2048, target: "127.0.0.1:9900", required: false }
disks:
  - { name: data, size: 20G, mount: /data }
  - { name: models, path: models.ext4, mount: /models, mode: ro }
labels: { team: web, version: 1.10 }
"#;

#[test]
fn every_key_of_the_table_is_read() {
    let spec = accepted(WHOLE);
    assert_eq!(spec.name.unwrap().as_str(), "web");
    assert_eq!(spec.image.unwrap().to_string(), "oci:/specs/./image");
    assert_eq!(spec.profile.unwrap().as_str(), "small");
    assert_eq!(spec.memory.unwrap().bytes(), 1 << 30);
    assert_eq!(spec.cpus.unwrap().get(), 2);
    assert_eq!(spec.disk_size.unwrap().bytes(), 20 << 30);
    assert_eq!(spec.backend.unwrap().as_str(), "qemu");
    assert_eq!(spec.kernel.unwrap(), Path::new("/specs/./kernel"));
    let env: Vec<_> = spec
        .env
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    let expected = [
        ("EMPTY", ""),
        ("HOME", "/root"),
        ("MODE", "production"),
        ("VERSION", "1.10"),
    ];
    assert_eq!(env, expected);
    assert_eq!(
        spec.files[0].source,
        FileSource::Host("/specs/./site".into())
    );
    assert_eq!(spec.files[1].source, FileSource::Content("ok\n".into()));
    assert_eq!(spec.files[1].mode.unwrap().bits(), 0o640);
    assert_eq!(
        (spec.files[0].owner, spec.files[1].owner),
        ((0, 0), (33, 33))
    );
    assert_eq!(spec.entrypoint.unwrap(), ["sh", "-c"]);
    assert_eq!(spec.command.unwrap(), ["serve", "80"]);
    assert_eq!(spec.idle, Some(false));
    assert_eq!(spec.user.as_deref(), Some("1000:1000"));
    assert_eq!(spec.workdir.unwrap().as_str(), "/srv");
    assert_eq!(spec.hostname.unwrap().as_str(), "box");
    assert_eq!(spec.stop_signal.unwrap().number(), 2);
    assert_eq!(format!("{:?}", spec.network_mode.unwrap()), "Isolated");
    let ports: Vec<_> = spec.publish.iter().map(ToString::to_string).collect();
    assert_eq!(ports, ["127.0.0.1:8080:80", "0.0.0.0:0:443"]);
    assert_eq!(spec.reach.len(), 1);
    let mediation = spec.mediation.unwrap();
    assert!(!mediation.required && mediation.port.get() == 2048);
    assert_eq!(spec.disks.len(), 2);
    assert!(spec.disks[1].read_only && !spec.disks[0].read_only);
    assert_eq!(spec.labels.len(), 2);
    assert!(spec.labels.values().any(|value| value == "1.10"));
}

#[test]
fn every_key_that_is_read_is_in_the_table_and_the_other_way_round() {
    // Had one of them no reader, its value would pass whatever it is.
    for (path, kind, _) in super::keys::KEYS {
        let name = path.rsplit(['.']).next().unwrap();
        assert!(
            WHOLE.contains(&format!("{name}:")),
            "{path} ({kind:?}) is not tried"
        );
    }
}

#[test]
fn json_is_accepted_as_such() {
    let spec =
        accepted("{\"name\": \"web\", \"image\": \"debian:12\", \"resources\": {\"cpus\": 4}}");
    assert_eq!(spec.cpus.unwrap().get(), 4);
    assert_eq!(accepted("\u{feff}name: web").name.unwrap().as_str(), "web");
    assert_eq!(
        accepted("---\nname: web\n...\n").name.unwrap().as_str(),
        "web"
    );
}

#[test]
fn the_structure_is_told_at_its_first_problem() {
    let tables: [(&str, &str); 26] = [
        (
            "resources:\n  memory: 1G\n  memroy: 2G\n",
            "3:3 unknown memroy in \"resources\" of 3",
        ),
        ("imgae: x\n", "1:1 unknown imgae in \"\" of 20"),
        (
            "files: [{ source: x }]\n",
            "1:11 unknown source in \"files\" of 5",
        ),
        (
            "network: { publish: [{ port: 1 }] }\n",
            "1:24 unknown port in \"network.publish\" of 3",
        ),
        ("secrets: {}\n", "1:1 planned secrets"),
        ("name: a\nname: b\n", "2:1 key `name` is there twice"),
        ("env: { A: 1, A: 2 }\n", "1:14 key `A` is there twice"),
        ("a: &x 1\nb: *x\n", "1:1 unknown a in \"\" of 20"),
        (
            "name: &x web\nhostname: *x\n",
            "2:11 aliases are not allowed",
        ),
        ("env:\n  <<: { A: 1 }\n", "2:3 merge keys are not allowed"),
        ("name: !!str web\n", "1:7 tags are not allowed"),
        ("env: !map { A: 1 }\n", "1:6 tags are not allowed"),
        (
            "name: web\n---\nname: dev\n",
            "2:1 a second document begins here",
        ),
        ("", "1:1 the file is empty"),
        ("# nothing\n", "1:1 the file is empty"),
        ("web\n", "1:1 a spec file is a map of keys"),
        ("- web\n", "1:1 a spec file is a map of keys"),
        ("? [a]\n: b\n", "1:3 a key must be one word"),
        (
            "command: make test\n",
            "1:10 `command` must be a list of words",
        ),
        (
            "resources: { cpus: \"2\" }\n",
            "1:20 `cpus` in `resources` must be a whole number without quotes",
        ),
        ("idle: yes\n", "1:7 `idle` must be true or false"),
        ("version: 2\n", "1:10 `version` must be 1"),
        (
            "files: [{ content: x, dst: /x, mode: 0644 }]\n",
            "1:38 `mode` in `files` must be a quoted text",
        ),
        (
            "labels: { team: null }\n",
            "1:17 `team` in `labels` must be a text",
        ),
        ("name:\n", "1:5 `name` must be a text"),
        (
            "command: [a, null]\n",
            "1:14 each of `command` must be a word",
        ),
    ];
    for (text, expected) in tables {
        assert_eq!(problems(text), [expected], "{text}");
    }
}

#[test]
fn what_stands_first_is_told_also_when_the_rest_is_not_yaml() {
    assert_eq!(
        problems("imgae: x\nname: [a\n"),
        ["1:1 unknown imgae in \"\" of 20"]
    );
    let broken = problems("name: web\ncommand: [a\n");
    assert!(broken[0].contains("this is not YAML: "), "{broken:?}");
    assert!(problems("name: web\n\timage: x\n")[0].contains("not YAML"));
}

#[test]
fn values_are_checked_together_and_told_in_the_order_of_the_file() {
    let text = "\
name: Web
image: ./image
resources: { memory: 512, cpus: 99, disk: big }
profile: smal
env: { 1A: x, NOPE: null }
network: { mode: host, publish: ['8080', { hostPort: 1 }] }
mediation: { target: nowhere }
disks:
  - { name: root, size: 1, mount: data, mode: rx }
  - { name: a, size: 1G, path: ./x, mount: /a }
files:
  - { dst: /x }
  - { src: a, dst: b, mode: \"9\", owner: me }
";
    assert_eq!(
        problems(text),
        [
            "1:7 Web is not a workspace name",
            "2:8 ./image is not an image reference",
            "3:22 512 is not a size",
            "3:33 99 is not a number of CPUs",
            "3:43 big is not a size",
            "4:10 smal is not a profile",
            "5:8 1A is not the name of an environment variable",
            "5:21 environment variable `NOPE` is not set here",
            "6:18 host is not a network mode",
            "6:34 8080 is not a published port",
            "6:42 a published port needs `guestPort`",
            "7:1 a mediation channel needs `port`",
            "7:22 nowhere is not a mediation target",
            "9:13 root is not a disk name",
            "9:25 1 is not a size",
            "9:35 data is not a guest path",
            "9:47 rx is not a disk mode",
            "10:5 a disk has `path` or `size`, not both",
            "12:5 a file needs `src` or `content`",
            "13:20 b is not a guest path",
            "13:29 9 is not a file mode",
            "13:41 me is not an owner",
        ]
    );
}

#[test]
fn an_idle_workspace_runs_nothing() {
    assert_eq!(
        problems("command: [a]\nidle: true\n"),
        ["1:1 an idle workspace runs nothing, and there is `command`"]
    );
    assert_eq!(accepted("command: [a]\nidle: false\n").idle, Some(false));
}

#[test]
fn a_host_name_is_refused_as_such() {
    assert_eq!(problems("hostname: Box\n"), ["1:11 Box is not a host name"]);
}

#[test]
fn hostile_files_cost_no_more_than_their_length() {
    let limit = Duration::from_secs(20);
    let began = Instant::now();
    let size = usize::try_from(super::SPEC_BYTES_MAX).unwrap();
    let deep = [
        "[".repeat(size),
        "{a: ".repeat(size / 4),
        "[{a: ".repeat(size / 5),
    ];
    for text in deep {
        assert_eq!(problems(&format!("env: {text}")).len(), 1);
    }
    assert!(!problems(&"- ".repeat(size / 2)).is_empty());
    let keys: Vec<String> = (0..size / 12)
        .map(|number| format!("K{number}: 1\n"))
        .collect();
    let keys = keys.concat();
    assert_eq!(problems(&keys).len(), 1);
    let env: Vec<String> = (0..size / 14)
        .map(|number| format!("  K{number}: x\n"))
        .collect();
    let env = env.concat();
    assert_eq!(accepted(&format!("env:\n{env}")).env.len(), size / 14);
    assert!(!problems(&"\"".repeat(size)).is_empty());
    assert!(!problems(&"? ".repeat(size / 2)).is_empty());
    assert!(!problems(&"a: b: ".repeat(size / 6)).is_empty());
    assert!(!problems(&"&a ".repeat(size / 3)).is_empty());
    assert!(began.elapsed() < limit, "{:?}", began.elapsed());
}
