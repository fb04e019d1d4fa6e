//! What a host has, and what is refused on it.

use super::*;

fn signed() -> Findings {
    Findings {
        os_version: "15.5".to_owned(),
        cpus: 10,
        memory_bytes: 32 << 30,
        is_supported: true,
        entitlements: Entitlements {
            virtualization: true,
            networking: false,
        },
        interfaces: Vec::new(),
    }
}

fn needs(network: NetworkMode) -> HostNeeds {
    HostNeeds {
        network,
        confinement: ConfinementDemand::Auto,
    }
}

fn refusals(found: Result<Findings, WrongHost>, needs: HostNeeds) -> Vec<String> {
    let errors = check(&found, needs).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn a_signed_executable_on_a_mac_can_start_a_machine() {
    let ready = check(&Ok(signed()), needs(NetworkMode::Isolated)).unwrap();
    assert_eq!(ready.accelerator, Accelerator::Apple);
    assert_eq!(ready.host_memory, ByteSize::from_bytes(32 << 30));
}

#[test]
fn a_bridge_is_refused_without_its_entitlement() {
    let refused = refusals(Ok(signed()), needs(NetworkMode::Bridged));
    assert_eq!(refused.len(), 1);
    assert!(
        refused[0].contains("com.apple.vm.networking"),
        "{refused:?}"
    );
}

/// To become an acceptance with the guest's DHCP.
#[test]
fn a_mode_that_needs_dhcp_is_refused_as_long_as_guests_do_not_speak_it() {
    let mut granted = signed();
    granted.entitlements.networking = true;
    for mode in [NetworkMode::Nat, NetworkMode::Bridged] {
        let refused = refusals(Ok(granted.clone()), needs(mode));
        assert_eq!(refused.len(), 1);
        assert!(refused[0].contains("DHCP"), "{refused:?}");
    }
}

#[test]
fn an_unsigned_executable_is_refused_with_the_command_that_signs_it() {
    let mut unsigned = signed();
    unsigned.entitlements.virtualization = false;
    let errors = check(&Ok(unsigned), needs(NetworkMode::Isolated)).unwrap_err();
    assert!(
        errors[0]
            .to_string()
            .contains("com.apple.security.virtualization")
    );
    assert!(errors[0].hint.as_ref().unwrap().contains("codesign"));
}

#[test]
fn what_the_host_lacks_is_told_before_what_the_request_asks_too_much() {
    let unsupported = Findings {
        is_supported: false,
        ..signed()
    };
    let refused = refusals(Ok(unsupported), needs(NetworkMode::Isolated));
    assert_eq!(refused, ["this Mac cannot run virtual machines"]);
    let strict = HostNeeds {
        network: NetworkMode::Bridged,
        confinement: ConfinementDemand::Required,
    };
    assert_eq!(refusals(Err(WrongHost), strict).len(), 2);
    assert_eq!(refusals(Ok(signed()), strict).len(), 2);
}

#[test]
fn required_confinement_is_refused_since_there_is_none() {
    let strict = HostNeeds {
        network: NetworkMode::Isolated,
        confinement: ConfinementDemand::Required,
    };
    let refused = refusals(Ok(signed()), strict);
    assert!(refused[0].contains("confinement"), "{refused:?}");
}

#[test]
fn the_report_of_a_mac() {
    insta::assert_debug_snapshot!(facts(&Ok(signed()), ConfinementDemand::Auto));
}

#[test]
fn the_report_of_another_system_says_that_it_is_one() {
    let facts = facts(&Err(WrongHost), ConfinementDemand::Auto);
    assert_eq!(facts.accelerator, None);
    let reason = facts.engine.unavailable.unwrap();
    assert!(reason.contains("macOS"), "{reason}");
    assert!(
        facts
            .network_modes
            .iter()
            .all(|mode| mode.unavailable.is_some())
    );
}
