use microagent_machine::reconcile::{Verdict, reconcile};
use microagent_machine::state::{FailReason, RestingState, RunningReason, State};
use microagent_os::process::Spawn;

use super::*;
use crate::event_log::Durability;
use crate::event_record::NewEvent;
use crate::lease::Lease as HeldLease;
use crate::runtime_record::tests::{at, boot};
use crate::workspace_folder::tests::home;
use crate::workspace_record::tests::workspace_record;

struct Answer(Monitor);

impl Observer for Answer {
    fn monitor(&self) -> Monitor {
        self.0
    }
}

fn facts(paths: &WorkspacePaths) -> Facts {
    observe(paths, workspace_record().id, &Answer(Monitor::Answers))
        .unwrap()
        .facts
}

fn write(paths: &WorkspacePaths, record: RuntimeRecord) {
    record_store::write(&paths.runtime_record(), &Stored::new(record)).unwrap();
}

fn running() -> RuntimeRecord {
    let mut record = RuntimeRecord::prepared(at(0));
    record.boot = Some(boot());
    record.enter(State::Running(RunningReason::Ready), at(1), None);
    record
}

#[test]
fn a_new_workspace_rests() {
    let (_root, paths) = home();
    write(&paths, RuntimeRecord::prepared(at(0)));
    let facts = facts(&paths);
    assert_eq!(
        (facts.lease, facts.monitor, facts.vm),
        (Lease::Free, Monitor::Silent, VmFact::Gone)
    );
    assert_eq!(reconcile(facts).as_str(), "unchanged");
}

#[test]
fn the_recorded_vm_is_alive_until_it_ends() {
    let (_root, paths) = home();
    let mut child = Spawn::new("/bin/sleep").argument("60").start().unwrap();
    let mut record = running();
    record.vm = Some(VmRecord::of_process(child.handle()));
    write(&paths, record);
    assert_eq!(facts(&paths).vm, VmFact::Alive);
    let lease = HeldLease::take(&paths).unwrap();
    assert_eq!(reconcile(facts(&paths)), Verdict::TrustMonitor);
    drop(lease);
    assert!(matches!(reconcile(facts(&paths)), Verdict::EndUnownedVm(_)));
    child
        .kill_and_wait(std::time::Duration::from_secs(20))
        .unwrap();
    assert_eq!(facts(&paths).vm, VmFact::Gone);
}

#[test]
fn a_pid_with_another_start_time_is_gone_and_one_of_another_namespace_unknown() {
    let (_root, paths) = home();
    let mut child = Spawn::new("/bin/sleep").argument("60").start().unwrap();
    let mut record = running();
    let vm = VmRecord::of_process(child.handle());
    record.vm = Some(VmRecord {
        start_time: Some("1".to_owned()),
        ..vm.clone()
    });
    write(&paths, record.clone());
    assert_eq!(facts(&paths).vm, VmFact::Gone);
    record.vm = Some(vm);
    record.monitor = Some(MonitorRecord {
        pid: 1,
        start_time: "1".to_owned(),
        pid_namespace: Some(1),
        version: "0.1.0".to_owned(),
    });
    write(&paths, record);
    assert_eq!(facts(&paths).vm, VmFact::Unknown);
    child
        .kill_and_wait(std::time::Duration::from_secs(20))
        .unwrap();
}

#[test]
fn a_copied_directory_of_another_host_boot_has_no_vm() {
    let (_root, paths) = home();
    let mut child = Spawn::new("/bin/sleep").argument("60").start().unwrap();
    let mut record = running();
    record.vm = Some(VmRecord::of_process(child.handle()));
    record.boot.as_mut().unwrap().host_boot_id = "00000000-0000-4000-8000-000000000000".to_owned();
    write(&paths, record);
    let facts = facts(&paths);
    assert_eq!(
        (facts.host_boot, facts.vm),
        (HostBoot::Changed, VmFact::Gone)
    );
    let Verdict::Becomes(outcome) = reconcile(facts) else {
        panic!()
    };
    assert_eq!(outcome.state, State::failed(FailReason::HostRebooted));
    child
        .kill_and_wait(std::time::Duration::from_secs(20))
        .unwrap();
}

#[test]
fn a_compute_system_is_asked_for_and_unknown_where_nobody_knows() {
    let (_root, paths) = home();
    let mut record = running();
    record.vm = Some(VmRecord {
        pid: None,
        start_time: None,
        system_id: Some("x".to_owned()),
        runtime_id: None,
    });
    write(&paths, record);
    assert_eq!(facts(&paths).vm, VmFact::Unknown);
}

#[test]
fn whether_a_vm_was_started_is_read_from_the_history_of_that_boot() {
    let (_root, paths) = home();
    let mut record = RuntimeRecord::prepared(at(0));
    record.boot = Some(boot());
    record.enter(
        State::Starting {
            before: RestingState::Prepared,
        },
        at(1),
        None,
    );
    write(&paths, record);
    let log = EventLog::new(&paths, workspace_record().id);
    let other = "01956f40-1c22-7f00-8000-4a9b0c1d2e3f".parse().unwrap();
    let append = |boot_id| {
        let event = NewEvent::new(EventType::VmStarted).boot(boot_id);
        log.append(event, Durability::ByType).unwrap();
    };
    append(other);
    let Verdict::Becomes(outcome) = reconcile(facts(&paths)) else {
        panic!()
    };
    assert_eq!(outcome.state, State::PREPARED);
    append(boot().id);
    let Verdict::Becomes(outcome) = reconcile(facts(&paths)) else {
        panic!()
    };
    assert_eq!(outcome.state, State::failed(FailReason::BootFailed));
}

#[test]
fn a_record_that_makes_no_sense_is_unreadable_and_a_newer_one_an_error() {
    let (_root, paths) = home();
    let unreadable = |text: &str| {
        std::fs::write(paths.runtime_record(), text).unwrap();
        observe(&paths, workspace_record().id, &Answer(Monitor::Silent))
    };
    let observed = unreadable("{").unwrap();
    assert_eq!(observed.facts.record, RecordFact::Unreadable);
    assert!(observed.unreadable.is_some());
    assert!(matches!(
        unreadable("{\"schema\": 2}"),
        Err(FactsError::Record(_))
    ));
    write(&paths, running());
    let text = std::fs::read_to_string(paths.runtime_record()).unwrap();
    let observed = unreadable(&text.replace("\"running\"", "\"sleeping\"")).unwrap();
    assert_eq!(observed.facts.record, RecordFact::Unreadable);
    std::fs::remove_file(paths.runtime_record()).unwrap();
    assert_eq!(facts(&paths).record, RecordFact::Unreadable);
}
