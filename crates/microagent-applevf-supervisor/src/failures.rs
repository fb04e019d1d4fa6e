//! What a host lacks, as the supervisor takes it: what it means to a caller, and what to do now.

use microagent_supervisor::backend::{BackendError, BackendErrorKind};

use crate::config::COMPONENT;
use crate::host::Obstacle;

const SIGN: &str = "sign it: codesign --force --sign - --entitlements entitlements.plist \
                    microagent-applevf-supervisor";
const OTHER_MODE: &str =
    "use the network mode `isolated`; exec, cp, --publish and --mediation work in it";
const ALLOW_LESS: &str =
    "microagent doctor says what is missing and why; or unset MICROAGENT_CONFINEMENT";
const NEEDED_HOST: &str = "a Mac with Apple silicon and macOS 13 or newer is needed";

/// A host, or a signature, that does not do.
pub(crate) fn obstacle(obstacle: Obstacle) -> BackendError {
    let hint = match obstacle {
        Obstacle::WrongHost(_) | Obstacle::NotSupported => NEEDED_HOST,
        Obstacle::NotEntitled => SIGN,
        Obstacle::NoBridge | Obstacle::NoAddresses { .. } => OTHER_MODE,
        Obstacle::NoConfinement => ALLOW_LESS,
    };
    BackendError::new(BackendErrorKind::Unsupported, COMPONENT, obstacle).with_hint(hint)
}
