//! Each line is pinned, since a changed word changes every machine.

use super::sample::{data_disks, path, spec};
use super::*;
use microagent_supervisor::backend::{GuestAddresses, NetworkMode};

fn nic() -> GuestNic {
    GuestNic {
        mode: NetworkMode::Nat,
        mac: [0x02, 0x3c, 0x41, 0xe5, 0x8f, 0xc4],
        addresses: GuestAddresses::Dhcp,
        name_servers: Vec::new(),
        openings: Vec::new(),
    }
}

/// One option a line.
fn lines(spec: &LaunchSpec, execution: Execution) -> String {
    let mut text = String::new();
    for word in arguments(spec, execution) {
        let word = word.into_string().unwrap();
        if !text.is_empty() {
            text.push(if word.starts_with('-') { '\n' } else { ' ' });
        }
        text.push_str(&word);
    }
    text
}

#[test]
fn an_isolated_machine_with_kvm() {
    insta::assert_snapshot!(lines(&spec(Arch::Amd64), Execution::Kvm));
}

#[test]
fn an_emulated_machine_keeps_the_timer_that_it_needs() {
    let kvm = lines(&spec(Arch::Amd64), Execution::Kvm);
    let emulated = lines(&spec(Arch::Amd64), Execution::OneThread);
    let differing: Vec<&str> = emulated
        .lines()
        .filter(|line| !kvm.lines().any(|other| other == *line))
        .collect();
    insta::assert_snapshot!(differing.join("\n"));
}

#[test]
fn a_guest_keeps_its_timers_where_the_host_does_not_trust_its_counter() {
    let machine = |source| {
        let clock = HostClock::named(source);
        let execution = Execution::new(Accelerator::Kvm, None, clock).unwrap();
        lines(&spec(Arch::Amd64), execution)
    };
    assert!(machine(Some("tsc\n")).contains("pit=off,pic=off,rtc=off"));
    for source in [Some("hpet\n"), Some("kvm-clock\n"), None] {
        let machine = machine(source);
        assert!(machine.contains("pit=on,pic=on,rtc=on"), "{machine}");
        assert!(machine.contains("-accel kvm\n-cpu host"), "{machine}");
    }
}

#[test]
fn a_machine_with_a_nic_and_data_disks() {
    let mut spec = spec(Arch::Amd64);
    let plain = lines(&spec, Execution::Kvm);
    spec.nic = Some(nic());
    spec.disks = data_disks();
    let rich = lines(&spec, Execution::Kvm);
    let added: Vec<&str> = rich
        .lines()
        .filter(|line| !plain.lines().any(|other| other == *line))
        .collect();
    insta::assert_snapshot!(added.join("\n"));
}

#[test]
fn a_disk_that_goes_with_its_run_is_a_layer_over_its_image_and_never_flushed() {
    let mut spec = spec(Arch::Amd64);
    spec.root_disk.base = Some(path("/i/disk.ext4"));
    spec.root_disk.durability = Durability::ThrownAway;
    let lines = lines(&spec, Execution::Kvm);
    let nodes: Vec<&str> = lines
        .lines()
        .filter(|line| line.starts_with("-blockdev"))
        .collect();
    insta::assert_snapshot!(nodes.join("\n"));
}

#[test]
fn an_arm64_machine() {
    let lines = lines(&spec(Arch::Arm64), Execution::Kvm);
    let machine: Vec<&str> = lines.lines().take(3).collect();
    insta::assert_snapshot!(machine.join("\n"));
}

#[test]
fn a_comma_in_a_path_does_not_end_the_value() {
    let mut spec = spec(Arch::Amd64);
    spec.root_disk.path = path("/w/a,readonly=on/rootfs.ext4");
    let lines = lines(&spec, Execution::Kvm);
    assert!(
        lines.contains("filename=/w/a,,readonly=on/rootfs.ext4,aio=threads"),
        "{lines}"
    );
}

#[test]
fn without_confinement_there_is_no_filter() {
    let mut spec = spec(Arch::Amd64);
    assert!(lines(&spec, Execution::Kvm).contains("\n-sandbox on,"));
    spec.confinement = ConfinementDemand::Off;
    assert!(!lines(&spec, Execution::Kvm).contains("-sandbox"));
}

#[test]
fn an_accelerator_of_another_host_is_refused() {
    assert!(Execution::new(Accelerator::Apple, None, HostClock::Counter).is_err());
}

#[test]
fn an_emulation_that_runs_changed_code_by_halves_gets_one_thread() {
    let execution = |version: Option<&str>| {
        let version = version.map(|text| text.parse().unwrap());
        Execution::new(Accelerator::Emulation, version, HostClock::Counter).unwrap()
    };
    assert_eq!(execution(None), Execution::OneThread);
    assert_eq!(execution(Some("7.2.22")), Execution::OneThread);
    assert_eq!(execution(Some("8.0.5")), Execution::OneThread);
    assert_eq!(execution(Some("8.1.0")), Execution::ThreadPerCpu);
    assert_eq!(execution(Some("10.0.2")), Execution::ThreadPerCpu);
    let kvm = Execution::new(Accelerator::Kvm, None, HostClock::Counter);
    assert_eq!(kvm, Ok(Execution::Kvm));
}
