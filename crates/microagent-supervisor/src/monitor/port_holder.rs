//! Which workspace of ours has a port of the host that somebody wants: for the text of a refusal, so
//! nothing is locked and whatever can't be read is passed over.

use microagent_machine::facts::Lease;
use microagent_state::runtime_record::RuntimeRecord;
use microagent_state::{StateDirectory, lease, record_store};
use microagent_types::{PublishSpec, WorkspaceName};

/// Workspaces that are looked at: a refusal must not take longer than what it refuses.
const LOOKED_AT_MAX: usize = 1000;

/// The living workspace, other than `own`, that publishes this port at this address.
pub(super) fn holder(
    state: &StateDirectory,
    own: &WorkspaceName,
    wanted: PublishSpec,
) -> Option<WorkspaceName> {
    let names = state.list_names().unwrap_or_default();
    names
        .into_iter()
        .filter(|name| name != own)
        .take(LOOKED_AT_MAX)
        .find(|name| {
            let paths = state.workspace(name);
            let publishes = record_store::read::<RuntimeRecord>(&paths.runtime_record())
                .ok()
                .flatten()
                .and_then(|record| record.value.boot)
                .is_some_and(|boot| {
                    let mut ports = boot.publish.into_iter().map(PublishSpec::from);
                    ports.any(|port| overlaps(port, wanted))
                });
            publishes && matches!(lease::observe(&paths), Ok(Lease::Held))
        })
}

/// One port, at the same address or at all of them.
fn overlaps(one: PublishSpec, other: PublishSpec) -> bool {
    one.host_port == other.host_port
        && (one.host == other.host || one.host.is_unspecified() || other.host.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::overlaps;

    #[test]
    fn a_port_is_shared_by_equal_addresses_and_by_all_of_them() {
        let spec = |text: &str| text.parse().unwrap();
        let local = spec("127.0.0.1:8080:80");
        assert!(overlaps(local, spec("8080:9000")));
        assert!(overlaps(local, spec("0.0.0.0:8080:80")));
        assert!(overlaps(spec("0.0.0.0:8080:80"), local));
        assert!(!overlaps(local, spec("127.0.0.2:8080:80")));
        assert!(!overlaps(local, spec("127.0.0.1:8081:80")));
    }
}
