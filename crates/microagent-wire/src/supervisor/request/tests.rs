use super::{Command, RequestHead};
use crate::fault::{Fault, FaultKind};
use microagent_types::BackendName;

const PREPARE: &str = r#"{"protocolVersion":1,"command":"prepare","requestId":"r-1","stateDir":"/s","workspace":"scout",
 "initiator":{"channel":"cli","subject":"uid:1000"},
 "config":{"cpus":2,"memoryBytes":1073741824,
  "kernel":{"path":"/k","sha256":"9b1d5c7e0f4a2b6c8d3e5f7091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4","custom":false},
  "initramfs":{"path":"/i","sha256":"1f0e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"},
  "rootDisk":{"format":"raw","sizeBytes":8589934592,"cloneFrom":"/d"},
  "workload":{"argv":["python","/srv/bot.py"],"env":{"MODE":"work"},"user":"bot","workdir":"/srv","stopSignal":"SIGINT"},
  "network":{"mode":"nat","publish":[{"hostPort":8088,"guestPort":80}]},
  "mediation":{"port":2048,"target":"127.0.0.1:9900","required":true}}}"#;

fn parse(text: &str) -> Result<super::Request, Fault> {
    RequestHead::parse(text.as_bytes(), BackendName::Firecracker)
        .map_err(|refused| refused.fault)
        .and_then(RequestHead::body)
}

fn refusal(text: &str) -> (FaultKind, Option<String>) {
    let fault = parse(text).unwrap_err();
    (fault.kind, fault.details.and_then(|details| details.path))
}

fn with(from: &str, to: &str) -> String {
    assert!(PREPARE.contains(from), "{from}");
    PREPARE.replace(from, to)
}

#[test]
fn the_documented_prepare_is_read_whole() {
    let request = parse(PREPARE).unwrap();
    assert_eq!(request.command, Command::Prepare);
    let config = request.config.unwrap();
    assert_eq!(config.workload.unwrap().stop_signal.number(), 2);
    assert_eq!(config.network.publish[0].host.to_string(), "127.0.0.1");
}

#[test]
fn what_is_sent_is_what_is_read() {
    let request = parse(PREPARE).unwrap();
    let text = serde_json::to_string(&request).unwrap();
    assert_eq!(parse(&text).unwrap(), request);
}

#[test]
fn earlier_stages_refuse_first() {
    let version = r#"{"protocolVersion":2,"command":"nonsense","unknown":1}"#;
    assert_eq!(refusal(version).0, FaultKind::Unsupported);
    let command = r#"{"protocolVersion":1,"command":"nonsense","unknown":1}"#;
    assert_eq!(refusal(command), (FaultKind::Usage, Some("command".into())));
    let field = r#"{"protocolVersion":1,"command":"start","unknown":1,"backend":"qemu"}"#;
    assert_eq!(refusal(field), (FaultKind::Usage, Some("unknown".into())));
    let backend = r#"{"protocolVersion":1,"command":"start","backend":"qemu"}"#;
    assert_eq!(refusal(backend).0, FaultKind::Unsupported);
    let workspace = r#"{"protocolVersion":1,"command":"start","stateDir":"/s","options":{"x":1}}"#;
    assert_eq!(
        refusal(workspace),
        (FaultKind::Usage, Some("workspace".into()))
    );
    let options = r#"{"protocolVersion":1,"command":"start","stateDir":"/s","workspace":"w","options":{"freeze":true},"config":{}}"#;
    assert_eq!(
        refusal(options),
        (FaultKind::Usage, Some("options.freeze".into()))
    );
}

#[test]
fn unknown_fields_are_refused_with_their_path_at_every_level() {
    for (from, to, path) in [
        ("\"cpus\":2", "\"cpus\":2,\"later\":1", "config.later"),
        (
            "\"custom\":false",
            "\"custom\":false,\"later\":1",
            "config.kernel.later",
        ),
        (
            "\"hostPort\":8088",
            "\"hostPort\":8088,\"later\":1",
            "config.network.publish[0].later",
        ),
        ("\"subject\":\"uid:1000\"", "\"later\":1", "initiator.later"),
    ] {
        let (kind, found) = refusal(&with(from, to));
        assert_eq!((kind, found.as_deref()), (FaultKind::Usage, Some(path)));
    }
}

#[test]
fn rules_between_fields_are_reported_together() {
    let text = with("1073741824", "100000000").replace("8589934592", "1");
    let fault = parse(&text).unwrap_err();
    assert_eq!(
        fault.details.unwrap().path.as_deref(),
        Some("config.memoryBytes")
    );
    assert_eq!(fault.cause.len(), 2, "{:?}", fault.cause);
}

#[test]
fn null_is_absent() {
    assert!(parse(&with("\"user\":\"bot\"", "\"user\":null")).is_ok());
    let start = r#"{"protocolVersion":1,"command":"start","stateDir":"/s","workspace":"w","config":null,"options":null,"note":null}"#;
    assert!(parse(start).is_ok());
}

#[test]
fn a_refused_request_still_tells_its_id() {
    let text = r#"{"protocolVersion":1,"command":"fly","requestId":"r-9"}"#;
    let refused = RequestHead::parse(text.as_bytes(), BackendName::Qemu).unwrap_err();
    assert_eq!(refused.request_id.unwrap().as_str(), "r-9");
    assert_eq!(refused.command.as_deref(), Some("fly"));
}

#[test]
fn hyperv_has_no_console_and_says_what_to_use() {
    let text = r#"{"protocolVersion":1,"command":"console","stateDir":"/s","workspace":"w"}"#;
    let refused = RequestHead::parse(text.as_bytes(), BackendName::WindowsHyperv).unwrap_err();
    assert_eq!(refused.fault.kind, FaultKind::Unsupported);
    assert!(refused.fault.hint.unwrap().contains("connect"));
}

#[test]
fn mounts_over_the_systems_own_folders_are_refused() {
    for (mount, refused) in [
        ("/data", false),
        ("/", true),
        ("/proc/x", true),
        ("/dev", true),
        ("/run/", true),
        ("/runner", false),
    ] {
        let disks = format!(
            "\"disks\":[{{\"name\":\"d\",\"path\":\"/d\",\"mount\":\"{mount}\"}}],\"cpus\":2"
        );
        assert_eq!(
            parse(&with("\"cpus\":2", &disks)).is_err(),
            refused,
            "{mount}"
        );
    }
}
