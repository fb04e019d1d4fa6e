//! Hyper-V sockets: connecting to a port of one guest, and listening for what one guest dials.
//!
//! A connection is handed on under the type of a TCP connection, which is a socket that is read, written and
//! waited for in the same way; nobody asks for its addresses.

use std::io;
use std::net::TcpStream;
use std::os::windows::io::{AsRawSocket as _, FromRawSocket as _, OwnedSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use microagent_types::VsockPort;
use windows_sys::Win32::Networking::WinSock::{
    AF_HYPERV, INVALID_SOCKET, SOCK_STREAM, SOCKADDR, SOCKET, WSAGetLastError, accept, bind,
    connect, listen, setsockopt, socket,
};
use windows_sys::Win32::System::Hypervisor::{
    HV_PROTOCOL_RAW, HVSOCKET_CONNECT_TIMEOUT, SOCKADDR_HV,
};

use super::library::guid;
use crate::calls::{Listening, Sockets};
use crate::service_id::service_id;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Hyper-V sockets of this host.
pub(super) struct HvSockets;

fn failed() -> io::Error {
    // SAFETY: the call has no arguments.
    io::Error::from_raw_os_error(unsafe { WSAGetLastError() })
}

fn checked(answer: i32) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(failed()) }
}

fn owned(found: SOCKET) -> io::Result<OwnedSocket> {
    if found == INVALID_SOCKET {
        return Err(failed());
    }
    let raw = u64::try_from(found).map_err(io::Error::other)?;
    // SAFETY: the socket was made just now and has no other owner.
    Ok(unsafe { OwnedSocket::from_raw_socket(raw) })
}

fn raw(socket: &OwnedSocket) -> io::Result<SOCKET> {
    SOCKET::try_from(socket.as_raw_socket()).map_err(io::Error::other)
}

fn new_socket() -> io::Result<OwnedSocket> {
    // The standard library starts the socket library with its first socket.
    drop(std::net::UdpSocket::bind("127.0.0.1:0")?);
    let protocol = i32::try_from(HV_PROTOCOL_RAW).map_err(io::Error::other)?;
    // SAFETY: takes numbers.
    owned(unsafe { socket(i32::from(AF_HYPERV), SOCK_STREAM, protocol) })
}

/// One guest's port: never the wildcard.
fn address(runtime_id: &str, port: u32) -> io::Result<SOCKADDR_HV> {
    let port = VsockPort::new(port).ok_or(io::ErrorKind::InvalidInput)?;
    let service = service_id(port).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(SOCKADDR_HV {
        Family: AF_HYPERV,
        Reserved: 0,
        VmId: guid("socket", runtime_id).map_err(io::Error::other)?,
        ServiceId: guid("socket", &service).map_err(io::Error::other)?,
    })
}

fn length() -> i32 {
    i32::try_from(size_of::<SOCKADDR_HV>()).unwrap_or(0)
}

impl Sockets for HvSockets {
    fn dial(&self, runtime_id: &str, port: u32, limit: Duration) -> io::Result<TcpStream> {
        let address = address(runtime_id, port)?;
        let socket = new_socket()?;
        let limit_ms = u32::try_from(limit.as_millis()).map_err(io::Error::other)?;
        let level = i32::try_from(HV_PROTOCOL_RAW).map_err(io::Error::other)?;
        let option = i32::try_from(HVSOCKET_CONNECT_TIMEOUT).map_err(io::Error::other)?;
        let value: *const u32 = &raw const limit_ms;
        // SAFETY: the socket is open, and the value of four bytes outlives the call.
        checked(unsafe { setsockopt(raw(&socket)?, level, option, value.cast(), 4) })?;
        let to: *const SOCKADDR_HV = &raw const address;
        // SAFETY: the socket is open, and the address of that length outlives the call.
        checked(unsafe { connect(raw(&socket)?, to.cast::<SOCKADDR>(), length()) })?;
        Ok(TcpStream::from(socket))
    }

    fn listen(&self, runtime_id: &str, port: u32) -> io::Result<Arc<dyn Listening>> {
        let address = address(runtime_id, port)?;
        let socket = new_socket()?;
        let at: *const SOCKADDR_HV = &raw const address;
        // SAFETY: the socket is open, and the address of that length outlives the call.
        checked(unsafe { bind(raw(&socket)?, at.cast::<SOCKADDR>(), length()) })?;
        // SAFETY: the socket is open.
        checked(unsafe { listen(raw(&socket)?, BACKLOG) })?;
        Ok(Arc::new(Port {
            number: raw(&socket)?,
            socket: Mutex::new(Some(socket)),
        }))
    }
}

struct Port {
    number: SOCKET,
    /// None once it is closed.
    socket: Mutex<Option<OwnedSocket>>,
}

impl Listening for Port {
    fn accept(&self) -> io::Result<TcpStream> {
        let nobody = std::ptr::null_mut();
        // SAFETY: takes a number; that of a socket which was closed meanwhile is an error, since the one
        // thread that accepts ends with it and no address is asked for.
        let accepted = unsafe { accept(self.number, nobody, std::ptr::null_mut()) };
        let accepted = owned(accepted)?;
        let open = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(TcpStream::from(accepted))
    }

    fn close(&self) {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        // Closing it wakes whoever waits in `accept`.
        drop(socket.take());
    }
}
