//! Loopback and the one interface, from the boot spec.
#![expect(
    clippy::disallowed_methods,
    reason = "the guest's files have no other door"
)]

use super::mounts::kernel_file;
use super::netlink;
use microagent_wire::guest::boot_spec::GuestNetwork;
use microagent_wire::guest::control::InterfaceReport;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{bind, recv, send, socket_with};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

/// The kernel gives loopback the first number.
const LOOPBACK_INDEX: u32 = 1;

/// The kernel's network, as something to ask.
struct Kernel(OwnedFd);

impl Kernel {
    fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        // The protocol 0 of netlink is routing.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self(socket))
    }

    /// Asks and reads the answer, which the kernel has ready when the request returns.
    fn ask(&self, request: &[u8]) -> io::Result<()> {
        send(&self.0, request, SendFlags::empty())?;
        loop {
            let mut answer = [0; 4096];
            let (count, _) = recv(&self.0, &mut answer, RecvFlags::empty())?;
            match netlink::acknowledgement(&answer[..count]) {
                Some(Ok(())) => return Ok(()),
                Some(Err(errno)) => return Err(io::Error::from_raw_os_error(errno)),
                None => {}
            }
        }
    }
}

/// Brings loopback up, which takes nothing from the host.
pub(super) fn loopback() -> io::Result<()> {
    Kernel::open()?.ask(&netlink::link_up(LOOPBACK_INDEX, None))
}

/// Brings the interface up as the boot spec says.
pub(super) fn configure(network: Option<&GuestNetwork>) -> io::Result<Option<InterfaceReport>> {
    network
        .map(|network| interface(&Kernel::open()?, network))
        .transpose()
}

fn interface(kernel: &Kernel, network: &GuestNetwork) -> io::Result<InterfaceReport> {
    if network.dhcp {
        let message = "this guest takes no addresses by DHCP";
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    let name = find(network).ok_or_else(|| {
        let wanted = network
            .interface
            .as_deref()
            .or(network.mac.as_deref())
            .unwrap_or("any");
        io::Error::new(io::ErrorKind::NotFound, format!("no interface `{wanted}`"))
    })?;
    let index = attribute(&name, "ifindex")
        .parse()
        .map_err(io::Error::other)?;
    kernel.ask(&netlink::link_up(index, network.mtu))?;
    let addresses = [
        network.address.map(IpAddr::V4).zip(network.prefix_length),
        network.address6.map(IpAddr::V6).zip(network.prefix_length6),
    ];
    for (address, prefix_length) in addresses.into_iter().flatten() {
        kernel.ask(&netlink::address(index, address, prefix_length))?;
    }
    let gateways = [
        network.gateway.map(IpAddr::V4),
        network.gateway6.map(IpAddr::V6),
    ];
    for gateway in gateways.into_iter().flatten() {
        kernel.ask(&netlink::default_route(index, gateway))?;
    }
    Ok(InterfaceReport {
        mac: attribute(&name, "address"),
        name,
        address: network.address.map(|address| address.to_string()),
        prefix_length: network.prefix_length,
    })
}

fn attribute(interface: &str, name: &str) -> String {
    kernel_file(&["/sys/class/net/", interface, "/", name].concat())
}

/// By hardware address when there is one, which names exactly one; else by name.
fn find(network: &GuestNetwork) -> Option<String> {
    let mut names = fs::read_dir("/sys/class/net")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    match &network.mac {
        Some(mac) => names.find(|name| attribute(name, "address").eq_ignore_ascii_case(mac)),
        None => names.find(|name| Some(name) == network.interface.as_ref()),
    }
}
