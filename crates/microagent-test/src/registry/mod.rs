//! A real registry on loopback, and a proxy in front of it that does what networks do.

mod fault_proxy;
mod server;

pub use fault_proxy::{Fault, FaultProxy, Request};
pub use server::{Access, Registry, TestAuthority};
