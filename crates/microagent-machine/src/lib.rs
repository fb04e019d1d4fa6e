//! What a workspace's machine is: spec, states, admission, reconciliation, capabilities.
