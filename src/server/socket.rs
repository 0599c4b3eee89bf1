//! Where a listener listens: a TCP port, or a Unix socket that belongs to the gate's own user.

use std::fs::Permissions;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream};

/// The longest path of a Unix socket, in bytes (`sun_path` of unix(7), with its zero).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Who connects to the socket is its principal: nobody but the gate's own user can.
const SOCKET_MODE: u32 = 0o600;

/// As many as tokio and the standard library ask for.
const BACKLOG: u32 = 1024;

/// Where a listener is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A TCP port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Place {
    /// Only this machine gets there.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A bound [`Place`].
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, File),
}

/// An accepted connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Binds `place`. A socket file that nobody listens on any more is replaced.
    pub(super) async fn bind(place: &Place) -> io::Result<Self> {
        match place {
            Place::Tcp(address) => Ok(Self::Tcp(TcpListener::bind(address).await?)),
            Place::Unix(path) => {
                if is_stale(path)? {
                    fs::remove_file(path)?;
                }
                let socket = UnixSocket::new_stream()?;
                socket.bind(path)?;
                let file = File::new(path)?;
                // Nobody can connect before it listens.
                fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
                Ok(Self::Unix(socket.listen(BACKLOG)?, file))
            }
        }
    }

    pub(super) fn place(&self) -> io::Result<Place> {
        Ok(match self {
            Self::Tcp(listener) => Place::Tcp(listener.local_addr()?),
            Self::Unix(_, file) => Place::Unix(file.path.clone()),
        })
    }

    /// The next connection, and the address of its other end if it has one.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are written at once; waiting for more to send would only delay them.
                let _ = stream.set_nodelay(true);
                (Stream::Tcp(stream), Some(address.ip()))
            }
            Self::Unix(listener, _) => (Stream::Unix(listener.accept().await?.0), None),
        })
    }

    /// From now on nobody new can connect; those who have connected can still be accepted.
    pub(super) fn unlink(&self) {
        if let Self::Unix(_, file) = self {
            file.remove();
        }
    }
}

/// The file of a Unix socket; removed with this value if it still is the same one.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

impl File {
    fn new(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        let device_and_inode = (metadata.dev(), metadata.ino());
        Ok(Self { path: path.to_owned(), device_and_inode })
    }

    fn remove(&self) {
        let metadata = fs::symlink_metadata(&self.path);
        if metadata.is_ok_and(|it| (it.dev(), it.ino()) == self.device_and_inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Whether a killed gate has left a file behind at `path`.
///
/// # Errors
/// When something else is there.
pub fn is_stale(path: &Path) -> io::Result<bool> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        let message = "there is a file of that name that is not a socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    match StdUnixStream::connect(path) {
        Ok(_) => {
            let message = "another process listens there";
            Err(io::Error::new(io::ErrorKind::AddrInUse, message))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) => Err(error),
    }
}
