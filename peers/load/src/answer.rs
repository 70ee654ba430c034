//! Reads an answer to its end and keeps what is counted of it.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What a client learned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Why it was rejected, where the answer says so.
    pub(crate) reason: Option<String>,
    /// Whether the connection may carry another request.
    pub(crate) keep_alive: bool,
}

/// How an answer failed to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Broken {
    /// The connection was closed before a byte of it.
    Unanswered,
    /// The connection was closed or reset within it.
    CutOff,
    /// It is not HTTP/1.1, or its head is too large.
    Malformed,
}

/// More than any sensible head, and little enough to have once for each connection.
const HEAD_BYTES_MAX: usize = 64 * 1024;

const HEADERS_MAX: usize = 64;

/// Where a service says why it rejected a request.
const REASON: &str = "x-steadfast-rejected";

/// Reads one answer. What is in `buffer` afterwards belongs to nobody: requests are not sent ahead.
pub(crate) async fn read(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    to_head: bool,
) -> Result<Answer, Broken> {
    buffer.clear();
    loop {
        if let Some((bytes, mut answer, body)) = head(buffer, to_head)? {
            if answer.status == 101 {
                answer.keep_alive = false;
                return Ok(answer);
            }
            buffer.drain(..bytes);
            if answer.status < 200 {
                continue;
            }
            match body {
                Body::Sized(length) => sized(stream, buffer, length).await?,
                Body::Chunked => chunked(stream, buffer).await?,
                Body::UntilClosed => {
                    answer.keep_alive = false;
                    until_closed(stream, buffer).await?;
                }
            }
            return Ok(answer);
        }
        if buffer.len() >= HEAD_BYTES_MAX {
            return Err(Broken::Malformed);
        }
        let before = buffer.len();
        match more(stream, buffer).await {
            Ok(()) => {}
            Err(_) if before == 0 => return Err(Broken::Unanswered),
            Err(_) => return Err(Broken::CutOff),
        }
    }
}

enum Body {
    Sized(u64),
    Chunked,
    UntilClosed,
}

/// The head at the begin of `buffer` with its length, if all of it is there.
fn head(buffer: &[u8], to_head: bool) -> Result<Option<(usize, Answer, Body)>, Broken> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let bytes = match response.parse(buffer) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Broken::Malformed),
    };
    let status = response.code.ok_or(Broken::Malformed)?;
    let mut answer = Answer {
        status,
        reason: None,
        keep_alive: response.version == Some(1),
    };
    let bodiless = to_head || status < 200 || status == 204 || status == 304;
    let mut body = Body::UntilClosed;
    for header in response.headers.iter() {
        let text = || std::str::from_utf8(header.value).map_err(|_| Broken::Malformed);
        if header.name.eq_ignore_ascii_case("content-length") {
            if !matches!(body, Body::Chunked) {
                body = Body::Sized(text()?.trim().parse().map_err(|_| Broken::Malformed)?);
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            body = Body::Chunked;
        } else if header.name.eq_ignore_ascii_case("connection") {
            answer.keep_alive &= !text()?.to_ascii_lowercase().contains("close");
        } else if header.name.eq_ignore_ascii_case(REASON) {
            answer.reason = Some(text()?.to_owned());
        }
    }
    if bodiless {
        body = Body::Sized(0);
    }
    Ok(Some((bytes, answer, body)))
}

async fn sized(stream: &mut TcpStream, buffer: &mut Vec<u8>, length: u64) -> Result<(), Broken> {
    let mut left = length;
    loop {
        let here = left.min(buffer.len() as u64);
        left -= here;
        buffer.drain(..here as usize);
        if left == 0 {
            return Ok(());
        }
        more(stream, buffer).await.map_err(|_| Broken::CutOff)?;
    }
}

async fn chunked(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), Broken> {
    loop {
        let size = loop {
            match httparse::parse_chunk_size(buffer) {
                Ok(httparse::Status::Complete((bytes, size))) => {
                    buffer.drain(..bytes);
                    break size;
                }
                Ok(httparse::Status::Partial) if buffer.len() < HEAD_BYTES_MAX => {
                    more(stream, buffer).await.map_err(|_| Broken::CutOff)?;
                }
                _ => return Err(Broken::Malformed),
            }
        };
        if size == 0 {
            return trailers(stream, buffer).await;
        }
        // With the line end behind it.
        sized(
            stream,
            buffer,
            size.checked_add(2).ok_or(Broken::Malformed)?,
        )
        .await?;
    }
}

/// Lines until an empty one.
async fn trailers(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), Broken> {
    loop {
        while let Some(end) = buffer.windows(2).position(|two| two == b"\r\n") {
            buffer.drain(..end + 2);
            if end == 0 {
                return Ok(());
            }
        }
        if buffer.len() >= HEAD_BYTES_MAX {
            return Err(Broken::Malformed);
        }
        more(stream, buffer).await.map_err(|_| Broken::CutOff)?;
    }
}

async fn until_closed(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), Broken> {
    loop {
        buffer.clear();
        match stream.read_buf(buffer).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(_) => return Err(Broken::CutOff),
        }
    }
}

/// Appends what has come; an end is an error.
async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.reserve(4096);
    match stream.read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
