//! HTTP/1.1 over a socket: just enough of it, so that the client costs little.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::Outcome;

/// One connection, kept alive.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub fn connect(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(64 << 10, stream) })
    }

    /// A request with a JSON body, and its whole reply.
    pub fn post(&mut self, path: &str, body: &str) -> Outcome<(u16, Vec<u8>)> {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: arrwdb\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        self.stream.get_mut().write_all((head + body).as_bytes())?;
        let status = self.head()?;
        let mut reply = Vec::new();
        status.1.read(&mut self.stream, |piece| reply.extend_from_slice(piece))?;
        Ok((status.0, reply))
    }

    /// A request without a body.
    pub fn get(&mut self, path: &str) -> Outcome<(u16, Vec<u8>)> {
        let mut reply = Vec::new();
        let status = self.get_pieces(path, |piece| reply.extend_from_slice(piece))?;
        Ok((status, reply))
    }

    /// The same with the reply piece by piece as it comes.
    pub fn get_pieces(&mut self, path: &str, piece: impl FnMut(&[u8])) -> Outcome<u16> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: arrwdb\r\n\r\n");
        self.stream.get_mut().write_all(head.as_bytes())?;
        let (status, length) = self.head()?;
        length.read(&mut self.stream, piece)?;
        Ok(status)
    }

    /// An upload of lines in a body of any length, read and written at once; gives the reply.
    pub fn upload(
        mut self,
        path: &str,
        lines: impl Iterator<Item = String> + Send,
    ) -> Outcome<(u16, Vec<u8>)> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: arrwdb\r\nContent-Type: application/x-ndjson\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        let mut sender = self.stream.get_ref().try_clone()?;
        sender.write_all(head.as_bytes())?;
        std::thread::scope(|scope| {
            let sending = scope.spawn(move || {
                let mut piece = String::new();
                for line in lines {
                    piece += &line;
                    if piece.len() >= 16 << 10 {
                        write!(sender, "{:x}\r\n{piece}\r\n", piece.len())?;
                        piece.clear();
                    }
                }
                if !piece.is_empty() {
                    write!(sender, "{:x}\r\n{piece}\r\n", piece.len())?;
                }
                sender.write_all(b"0\r\n\r\n")
            });
            let (status, length) = self.head()?;
            let mut reply = Vec::new();
            length.read(&mut self.stream, |piece| reply.extend_from_slice(piece))?;
            sending.join().expect("the sender does not panic")?;
            Ok((status, reply))
        })
    }

    /// Status and how the body ends.
    fn head(&mut self) -> Outcome<(u16, Length)> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).ok_or("no status line")?.parse()?;
        let mut length = Length::Close;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                return Ok((status, length));
            }
            if let Some(bytes) = header.strip_prefix("content-length: ") {
                length = Length::Bytes(bytes.parse()?);
            } else if header == "transfer-encoding: chunked" {
                length = Length::Chunked;
            }
        }
    }
}

/// How a body ends.
#[derive(Debug, Clone, Copy)]
enum Length {
    Bytes(usize),
    Chunked,
    Close,
}

impl Length {
    fn read(self, stream: &mut BufReader<TcpStream>, mut piece: impl FnMut(&[u8])) -> Outcome {
        match self {
            Self::Bytes(bytes) => {
                let mut body = vec![0; bytes];
                stream.read_exact(&mut body)?;
                piece(&body);
            }
            Self::Chunked => {
                let (mut line, mut chunk) = (String::new(), Vec::new());
                loop {
                    line.clear();
                    stream.read_line(&mut line)?;
                    let bytes = usize::from_str_radix(line.trim(), 16)?;
                    chunk.resize(bytes + 2, 0);
                    stream.read_exact(&mut chunk)?;
                    if bytes == 0 {
                        break;
                    }
                    piece(&chunk[..bytes]);
                }
            }
            Self::Close => {
                let mut body = Vec::new();
                stream.read_to_end(&mut body)?;
                piece(&body);
            }
        }
        Ok(())
    }
}
