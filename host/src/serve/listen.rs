//! Where connections come from: TCP addresses and Unix sockets.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::config::server::Listen;

/// How many connections wait to be accepted, as far as the operating system allows: one that finds
/// no room comes again after a second.
const BACKLOG: u32 = 4_096;
/// Who may use a Unix socket: its owner and its group.
const SOCKET_MODE: u32 = 0o660;

/// A place that is listened at.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A connection that came in.
#[derive(Debug)]
pub(super) enum Incoming {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// The file of a Unix socket, removed when it is no longer listened at.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Listens. A socket that nobody listens at any more is replaced.
    pub(super) async fn bind(place: &Listen) -> io::Result<Self> {
        match place {
            Listen::Tcp(address) => {
                let socket = match address {
                    SocketAddr::V4(_) => TcpSocket::new_v4()?,
                    SocketAddr::V6(_) => TcpSocket::new_v6()?,
                };
                // As a service that is started again needs it.
                socket.set_reuseaddr(true)?;
                socket.bind(*address)?;
                Ok(Self::Tcp(socket.listen(BACKLOG)?))
            }
            Listen::Unix(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                let file = SocketFile(path.clone());
                fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
                Ok(Self::Unix(listener, file))
            }
        }
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Incoming> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // An answer goes out at once, not with the next one. What is closed already is
                // found out when it is read.
                let _set = stream.set_nodelay(true);
                Ok(Incoming::Tcp(stream, peer))
            }
            Self::Unix(listener, _) => Ok(Incoming::Unix(listener.accept().await?.0)),
        }
    }

    /// Where it listens: with the port that the operating system chose where none was named.
    pub(super) fn place(&self) -> io::Result<Listen> {
        match self {
            Self::Tcp(listener) => Ok(Listen::Tcp(listener.local_addr()?)),
            Self::Unix(_, file) => Ok(Listen::Unix(file.0.clone())),
        }
    }
}

/// Removes a socket that a process which was killed has left. Anything else stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Ok(()),
    }
}
