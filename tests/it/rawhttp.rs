//! HTTP/1.1 by hand over a socket: a byte goes out when the test says so, and none is read before
//! the test asks for it. Clients proper read ahead and gather what they send.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Receive buffer of a client that is slow: the less the system holds for it, the sooner it
/// stalls.
const SLOW_RECEIVE_BYTES: u32 = 4 << 10;

/// The half that sends a request's body in chunks. Dropped together with its [`Receiver`] the
/// connection is gone, whatever was still to come.
#[derive(Debug)]
pub struct Sender {
    socket: OwnedWriteHalf,
}

/// The half that reads the answer.
#[derive(Debug)]
pub struct Receiver {
    socket: OwnedReadHalf,
    received: BytesMut,
    lines: BytesMut,
    status: Option<u16>,
    left: Left,
}

/// What of the body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// This much of it.
    Bytes(u64),
    /// This much of the chunk under way, then more chunks.
    OfChunk(u64),
    Nothing,
}

/// Begins a request whose body is sent in chunks; a request without one ends with
/// [`Sender::finish`] at once.
pub async fn begin(
    address: SocketAddr,
    method: &str,
    path: &str,
) -> io::Result<(Sender, Receiver)> {
    begin_on(TcpSocket::new_v4()?, address, method, path, "transfer-encoding: chunked").await
}

/// The same without a body, for a client that will not read: its system takes little for it.
pub async fn begin_slow(
    address: SocketAddr,
    method: &str,
    path: &str,
) -> io::Result<(Sender, Receiver)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(SLOW_RECEIVE_BYTES)?;
    begin_on(socket, address, method, path, "content-length: 0").await
}

async fn begin_on(
    socket: TcpSocket,
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> io::Result<(Sender, Receiver)> {
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let mut sender = Sender { socket: writer };
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n{body}\r\n\r\n");
    sender.socket.write_all(head.as_bytes()).await?;
    let receiver = Receiver {
        socket: reader,
        received: BytesMut::new(),
        lines: BytesMut::new(),
        status: None,
        left: Left::Nothing,
    };
    Ok((sender, receiver))
}

impl Sender {
    /// Sends a piece of the body as one chunk.
    pub async fn send(&mut self, piece: &[u8]) -> io::Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        self.socket.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
        self.socket.write_all(piece).await?;
        self.socket.write_all(b"\r\n").await
    }

    /// Ends the body. Keep what comes back while the answer is read: without it the socket's
    /// sending half is shut down, as by a client that leaves.
    pub async fn finish(mut self) -> io::Result<Self> {
        self.socket.write_all(b"0\r\n\r\n").await?;
        Ok(self)
    }
}

impl Receiver {
    /// The answer's status; waits for its head.
    pub async fn status(&mut self) -> io::Result<u16> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        let first = self.head_line().await?;
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not HTTP: {first:?}")))?;
        loop {
            let line = self.head_line().await?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            match line.split_once(':').map(|(name, value)| (name, value.trim())) {
                Some(("transfer-encoding", "chunked")) => self.left = Left::OfChunk(0),
                Some(("content-length", length)) => {
                    let length = length.parse().map_err(io::Error::other)?;
                    self.left = Left::Bytes(length);
                }
                _ => {}
            }
        }
        self.status = Some(status);
        Ok(status)
    }

    /// The next piece of the answer's body; `None` at its proper end, an error when it is cut.
    pub async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        self.status().await?;
        loop {
            match self.left {
                Left::Nothing | Left::Bytes(0) => return Ok(None),
                Left::Bytes(left) => {
                    let piece = self.take(left).await?;
                    self.left = Left::Bytes(left - piece.len() as u64);
                    return Ok(Some(piece));
                }
                Left::OfChunk(0) => {
                    let line = self.head_line().await?;
                    let length = u64::from_str_radix(&line, 16).map_err(io::Error::other)?;
                    if length == 0 {
                        self.head_line().await?;
                        self.left = Left::Nothing;
                        return Ok(None);
                    }
                    self.left = Left::OfChunk(length);
                }
                Left::OfChunk(left) => {
                    let piece = self.take(left).await?;
                    let left = left - piece.len() as u64;
                    if left == 0 {
                        self.head_line().await?;
                    }
                    self.left = Left::OfChunk(left);
                    return Ok(Some(piece));
                }
            }
        }
    }

    /// The next line of the answer's body without its end; `None` at the body's proper end.
    pub async fn line(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(line) = cut_line(&mut self.lines) {
                return Ok(Some(line));
            }
            match self.piece().await? {
                Some(piece) => self.lines.extend_from_slice(&piece),
                None if self.lines.is_empty() => return Ok(None),
                None => return Err(io::Error::other("the last line has no end")),
            }
        }
    }

    /// A line of the head or of the framing, without its end.
    async fn head_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.received.split_to(end);
                self.received.advance(2);
                return String::from_utf8(line.to_vec()).map_err(io::Error::other);
            }
            self.receive().await?;
        }
    }

    async fn take(&mut self, most: u64) -> io::Result<Bytes> {
        while self.received.is_empty() {
            self.receive().await?;
        }
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(self.received.len());
        Ok(self.received.split_to(length).freeze())
    }

    async fn receive(&mut self) -> io::Result<()> {
        self.received.reserve(64 << 10);
        match self.socket.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Takes a line off the front, when there is a whole one.
pub fn cut_line(bytes: &mut BytesMut) -> Option<Bytes> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = bytes.split_to(end).freeze();
    bytes.advance(1);
    Some(line)
}
