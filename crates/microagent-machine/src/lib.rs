//! What a workspace's machine is: spec, states, admission, reconciliation, capabilities.

pub mod capability;

pub use capability::{Accelerator, Capabilities};
