//! A real registry on loopback, a proxy in front of it that does what networks do, and one as companies have them.

mod fault_proxy;
mod forward_proxy;
mod server;

pub use fault_proxy::{Fault, FaultProxy, Request};
pub use forward_proxy::{Asked, ForwardProxy};
pub use server::{Access, Registry, TestAuthority};
