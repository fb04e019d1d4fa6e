//! A VMM that is a Linux process: launch, confine, watch, network, vsock over Unix sockets.
//!
//! What `firecracker` and `qemu` have in common, so that each backend holds only what differs. The
//! judgements (is KVM usable, what does the other side of the handshake say, how is the VMM
//! confined, with which words is the network engine started) are pure and compile on every OS; the
//! calls compile on Linux only. Nothing here knows a workspace, a record or a wire message.
//! This crate promises nothing to outsiders.
//!
//! In reading order: [`kvm`], [`program`], [`launch`], [`words`], [`pidfd`], [`handshake`], [`vsock_gate`],
//! [`vsock_unix`], [`user_network`], [`control_group`], [`confine`], [`host_report`].

pub mod confine;
pub mod handshake;
pub mod kvm;
pub mod program;
pub mod user_network;

#[cfg(target_os = "linux")]
pub mod control_group;
#[cfg(target_os = "linux")]
pub mod device_stream;
#[cfg(target_os = "linux")]
pub mod host_report;
#[cfg(target_os = "linux")]
pub mod launch;
#[cfg(target_os = "linux")]
pub mod pidfd;
#[cfg(target_os = "linux")]
pub mod vsock_gate;
#[cfg(target_os = "linux")]
pub mod vsock_unix;
#[cfg(target_os = "linux")]
pub mod words;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod test_loop;
