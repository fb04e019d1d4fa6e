//! A tap in the VMM's own network, and the socket through which the monitor sees its frames.
//!
//! Made while the process still has rights over its new network and the host's devices in sight. The
//! tap belongs to the VMM's user, so the VMM opens it without any right; it outlives this process's
//! descriptor and ends with the network. The network has no address, no route and no other way out:
//! what goes through it, the monitor has carried.
#![expect(
    unsafe_code,
    reason = "a tap and a packet socket, which rustix does not know"
)]

use std::ffi::{CStr, c_int, c_ulong, c_void};
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use microagent_os::fs;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::user_network::{MTU, TAP};

const TUN_DEVICE: &str = "/dev/net/tun";
/// The kernel of this side must not speak on the guest's wire.
const NO_IPV6: &str = "/proc/sys/net/ipv6/conf/tap0/disable_ipv6";
/// As many full frames as the host allows to wait for the monitor.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// A step that did not work.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {source}")]
pub(super) struct TapError {
    step: &'static str,
    source: io::Error,
}

fn failed(step: &'static str) -> impl Fn(io::Error) -> TapError {
    move |source| TapError { step, source }
}

/// Makes the tap; gives a packet socket on it that does not block.
pub(super) fn make() -> Result<OwnedFd, TapError> {
    make_tap()?;
    // A kernel without IPv6 has no such file, and where it can't be written a stray packet is no harm.
    let _ = fs::open_read_write(Path::new(NO_IPV6)).map(|mut file| file.write_all(b"1"));
    bring_up()?;
    packet_socket()
}

/// Sends the socket to the monitor, behind everything that was said so far.
pub(super) fn hand_over(control: impl AsFd, socket: &OwnedFd) -> io::Result<()> {
    let descriptors = [socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)),
        "the space is for one descriptor"
    );
    let bytes = [IoSlice::new(&[0])];
    rustix::net::sendmsg(control, &bytes, &mut ancillary, SendFlags::empty())?;
    Ok(())
}

fn make_tap() -> Result<(), TapError> {
    let tun = fs::open_read_write(Path::new(TUN_DEVICE));
    let tun = tun.map_err(|error| TapError {
        step: "open `/dev/net/tun`",
        source: error.into(),
    })?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let mut request = request();
    request.ifr_ifru.ifru_flags = flags.try_into().expect("the flags are 15 bits");
    control(tun.as_fd(), libc::TUNSETIFF, &mut request).map_err(failed("make a tap"))?;
    let owner = rustix::process::geteuid().as_raw();
    set(tun.as_fd(), libc::TUNSETOWNER, owner.into()).map_err(failed("give the tap away"))?;
    set(tun.as_fd(), libc::TUNSETPERSIST, 1).map_err(failed("keep the tap"))
}

fn bring_up() -> Result<(), TapError> {
    let any = socket(libc::AF_INET, libc::SOCK_DGRAM).map_err(failed("reach the network"))?;
    let mut mtu = request();
    mtu.ifr_ifru.ifru_mtu = MTU.try_into().expect("it is below 64 KiB");
    control(any.as_fd(), libc::SIOCSIFMTU, &mut mtu).map_err(failed("size the tap"))?;
    let mut up = request();
    up.ifr_ifru.ifru_flags = libc::IFF_UP.try_into().expect("the flags are 15 bits");
    control(any.as_fd(), libc::SIOCSIFFLAGS, &mut up).map_err(failed("bring the tap up"))
}

fn packet_socket() -> Result<OwnedFd, TapError> {
    let step = failed("watch the tap");
    // Without a protocol until it is bound, so nothing of another interface is ever in it.
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK;
    let socket = socket(libc::AF_PACKET, kind).map_err(&step)?;
    for option in [libc::PACKET_VNET_HDR, libc::PACKET_IGNORE_OUTGOING] {
        switch_on(socket.as_fd(), option).map_err(&step)?;
    }
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES)
        .map_err(|error| step(error.into()))?;
    let mut name = request();
    control(socket.as_fd(), libc::SIOCGIFINDEX, &mut name).map_err(&step)?;
    // SAFETY: the call has written the index, and any bits are one.
    let index = unsafe { name.ifr_ifru.ifru_ifindex };
    bind(socket.as_fd(), index).map_err(step)?;
    Ok(socket)
}

/// A request about the tap.
fn request() -> libc::ifreq {
    let mut name = [0; libc::IFNAMSIZ];
    let text: &CStr = TAP;
    for (place, byte) in name.iter_mut().zip(text.to_bytes()) {
        *place = libc::c_char::from_ne_bytes([*byte]);
    }
    libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_ifindex: 0 },
    }
}

fn socket(family: c_int, kind: c_int) -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers only.
    let descriptor = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) };
    checked(descriptor)?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn control(
    descriptor: BorrowedFd<'_>,
    call: libc::Ioctl,
    request: &mut libc::ifreq,
) -> io::Result<()> {
    // SAFETY: each of these calls reads and writes one `ifreq`, which lives until it returns.
    checked(unsafe { libc::ioctl(descriptor.as_raw_fd(), call, std::ptr::from_mut(request)) })
}

fn set(descriptor: BorrowedFd<'_>, call: libc::Ioctl, value: c_ulong) -> io::Result<()> {
    // SAFETY: each of these calls takes a number.
    checked(unsafe { libc::ioctl(descriptor.as_raw_fd(), call, value) })
}

fn switch_on(socket: BorrowedFd<'_>, option: c_int) -> io::Result<()> {
    let on: c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<c_int>()).expect("a number is small");
    let value = std::ptr::from_ref(&on).cast::<c_void>();
    // SAFETY: the value is one `c_int`, of the length that is said, and lives until it returns.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, value, length) };
    checked(result)
}

fn bind(socket: BorrowedFd<'_>, index: c_int) -> io::Result<()> {
    let every_protocol = u16::try_from(libc::ETH_P_ALL).expect("it is 3").to_be();
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET.try_into().expect("families are small"),
        sll_protocol: every_protocol,
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address)).expect("an address is small");
    let pointer = std::ptr::from_ref(&address).cast::<libc::sockaddr>();
    // SAFETY: the address is of the length that is said and lives until the call returns.
    checked(unsafe { libc::bind(socket.as_raw_fd(), pointer, length) })
}

fn checked(result: c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
