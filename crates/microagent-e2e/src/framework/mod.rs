//! The machinery under the cases: what is shared, how a case is run and judged, what it needs.

pub(crate) mod backend;
pub(crate) mod case;
pub(crate) mod check;
pub(crate) mod dumb_init;
pub(crate) mod guest;
pub(crate) mod net_hosts;
pub(crate) mod small_disk;
pub(crate) mod typed;
pub(crate) mod workspace;
pub(crate) mod world;
