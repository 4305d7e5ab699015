//! What the system still holds of what was written to a connection, or has come on it. The HTTP library keeps its sockets to
//! itself, so a socket is found by its two addresses, of which there is one pair at a time.

use std::net::SocketAddr;
use std::os::fd::RawFd;

use socket2::SockAddr;

/// Where the system lists the descriptors of this process.
#[cfg(target_os = "linux")]
const DESCRIPTORS: &str = "/proc/self/fd";
#[cfg(not(target_os = "linux"))]
const DESCRIPTORS: &str = "/dev/fd";

/// A connection of somebody else's, who may close it at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    number: RawFd,
    local: SocketAddr,
    peer: SocketAddr,
}

impl Socket {
    /// The connection of this process between these addresses; `None` where the system doesn't show it.
    pub(crate) fn between(local: SocketAddr, peer: SocketAddr) -> Option<Self> {
        let numbers = std::fs::read_dir(DESCRIPTORS).ok()?;
        numbers
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .map(|number| Self { number, local, peer })
            .find(Self::is_open)
    }

    /// How many bytes were written to it that its peer hasn't acknowledged; `None` once it's closed.
    pub(crate) fn unacknowledged(&self) -> Option<u64> {
        if self.is_open() { queued(self.number) } else { None }
    }

    /// How many bytes have come on it that nobody has read; `None` once it's closed, from either end.
    pub(crate) fn unread(&self) -> Option<u64> {
        if self.is_open() { waiting(self.number) } else { None }
    }

    /// Whether the number still stands for it.
    fn is_open(&self) -> bool {
        address(self.number, libc::getsockname) == Some(self.local)
            && address(self.number, libc::getpeername) == Some(self.peer)
    }
}

/// What one of the two calls says of a descriptor that may be closed, or no socket.
fn address(
    number: RawFd,
    ask: unsafe extern "C" fn(RawFd, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int,
) -> Option<SocketAddr> {
    let fill = |storage: *mut socket2::SockAddrStorage, length: *mut libc::socklen_t| {
        // SAFETY: both pointers are valid for writing, and the length says how much. A number that
        // stands for no socket is an error.
        match unsafe { ask(number, storage.cast(), length) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the call fills the storage with an address, and sets its length, or fails.
    let ((), address) = unsafe { SockAddr::try_init(fill) }.ok()?;
    address.as_socket()
}

/// Bytes in a socket's queue, sent or not.
#[cfg(target_os = "linux")]
fn queued(number: RawFd) -> Option<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which has this name too, writes an int to where `bytes` is. Of what is no socket
    // any more it only asks.
    let asked = unsafe { libc::ioctl(number, libc::TIOCOUTQ, &raw mut bytes) };
    if asked == 0 { u64::try_from(bytes).ok() } else { None }
}

/// Bytes that can be read.
fn waiting(number: RawFd) -> Option<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes an int to where `bytes` is. Of what is no socket any more it only asks.
    let asked = unsafe { libc::ioctl(number, libc::FIONREAD, &raw mut bytes) };
    if asked == 0 { u64::try_from(bytes).ok() } else { None }
}

#[cfg(target_vendor = "apple")]
fn queued(number: RawFd) -> Option<u64> {
    let mut bytes: libc::c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of_val(&bytes)).ok()?;
    let place = (&raw mut bytes).cast();
    // SAFETY: the option is an int, which `bytes` and `length` are the place and the size of.
    let asked = unsafe {
        libc::getsockopt(number, libc::SOL_SOCKET, libc::SO_NWRITE, place, &raw mut length)
    };
    if asked == 0 { u64::try_from(bytes).ok() } else { None }
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn queued(_: RawFd) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// What the peer doesn't take stays in the queue, until it does; and a closed socket has none.
    #[test]
    fn the_queue_of_a_connection_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let (local, remote) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        let socket = Socket::between(local, remote).unwrap();
        assert_ne!(Socket::between(remote, local), Some(socket), "the other end is another one");
        assert_eq!(socket.unacknowledged(), Some(0));

        stream.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(bytes) = stream.write(&[7; 4096]) {
            written += bytes;
        }
        assert!(socket.unacknowledged().unwrap() > 0);
        let mut taken = vec![0; written];
        peer.read_exact(&mut taken).unwrap();
        while socket.unacknowledged() != Some(0) {
            std::thread::yield_now();
        }

        assert_eq!(socket.unread(), Some(0));
        peer.write_all(b"enough").unwrap();
        while socket.unread() != Some(6) {
            std::thread::yield_now();
        }

        drop(stream);
        assert_eq!((socket.unacknowledged(), socket.unread()), (None, None));
        assert_eq!(Socket::between(local, remote), None);
    }
}
