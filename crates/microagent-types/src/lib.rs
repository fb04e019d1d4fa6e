//! The vocabulary: every name, id, digest, port, size and path of the product, parsed once.
//!
//! A value of one of these types cannot be wrong, so nothing further in checks it again. Parsing,
//! display and serde go through the same function (`text_form`), so what is printed can be typed and
//! what is stored can be read.
//!
//! This crate opens nothing, reads no clock and starts nothing. The one exception to "no world" is
//! [`env_vars`], which is the single list of environment variables that the product reads.
//! Outsiders may depend on this crate.
#![forbid(unsafe_code)]

mod text_form;

pub mod abs_path;
pub mod arch;
pub mod backend;
pub mod byte_size;
pub mod digest;
pub mod disk_name;
pub mod disk_spec;
pub mod env_vars;
pub mod environment;
pub mod guest_path;
pub mod guest_port;
pub mod host_endpoint;
pub mod identity;
pub mod image_ref;
pub mod label;
pub mod mediation_target;
pub mod opening;
pub mod publish;
pub mod signal_name;
pub mod span;
pub mod timestamp;
pub mod vcpu_count;
pub mod workspace_name;

pub use abs_path::AbsPath;
pub use arch::Arch;
pub use backend::BackendName;
pub use byte_size::ByteSize;
pub use digest::{Digest, Sha256Hex};
pub use disk_name::DiskName;
pub use disk_spec::{DiskContent, DiskSpec};
pub use environment::{EnvName, Environment};
pub use guest_path::GuestPath;
pub use guest_port::{GuestPort, MediationPort, VsockPort};
pub use host_endpoint::HostPort;
pub use identity::{BootId, RequestId, WorkspaceId};
pub use image_ref::{ImageRef, ImageSource, RegistryHost};
pub use label::LabelName;
pub use mediation_target::MediationTarget;
pub use opening::Opening;
pub use publish::PublishSpec;
pub use signal_name::SignalName;
pub use span::Span;
pub use text_form::InvalidText;
pub use timestamp::Timestamp;
pub use vcpu_count::VcpuCount;
pub use workspace_name::WorkspaceName;
