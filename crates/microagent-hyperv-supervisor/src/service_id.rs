//! The id under which Hyper-V sockets know a vsock port.

use microagent_types::VsockPort;

/// The largest port that Hyper-V carries.
pub const PORT_MAX: u32 = 0x7fff_ffff;
/// What follows the port in the template that Linux guests use.
const TEMPLATE: &str = "facb-11e6-bd58-64006a7986d3";

/// The id of a port; none for one that Hyper-V can't carry.
pub fn service_id(port: VsockPort) -> Option<String> {
    let port = port.get();
    (port <= PORT_MAX).then(|| format!("{port:08x}-{TEMPLATE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_of_the_protocol_have_the_published_ids() {
        let id = |port: u32| service_id(VsockPort::new(port).unwrap());
        let text = |port: u32| id(port).unwrap();
        assert_eq!(text(1024), "00000400-facb-11e6-bd58-64006a7986d3");
        assert_eq!(text(1025), "00000401-facb-11e6-bd58-64006a7986d3");
        assert_eq!(text(PORT_MAX), "7fffffff-facb-11e6-bd58-64006a7986d3");
        assert_eq!(id(PORT_MAX + 1), None);
    }
}
