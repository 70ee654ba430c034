//! What stands between the socket and the server.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use steadfast_core::clock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::support::Panics;

use super::{Change, Service, counted, head, over_what_keeps_bytes, rest, until, write};

/// Shakes hands by one letter: well, badly, with a panic, or never.
async fn shake(mut stream: TcpStream) -> io::Result<TcpStream> {
    match stream.read_u8().await? {
        b'w' => Ok(stream),
        b'b' => Err(io::Error::other("no hand")),
        b'p' => panic!("serve: handshake"),
        _ => std::future::pending().await,
    }
}

#[tokio::test]
async fn a_handshake_that_comes_to_nothing_is_closed_counted_and_in_nobodys_way() {
    let panics = Panics::of("serve: handshake");
    let service = Service::start(|serve| {
        let serve = serve.over(shake);
        serve.connections(1).header_read(Duration::from_millis(50))
    })
    .await;

    for letter in ["b", "p", "never", ""] {
        let mut socket = service.connect().await;
        write(&mut socket, letter).await;
        assert_eq!(rest(socket).await, "", "{letter}");
    }
    let mut socket = service.connect().await;
    let request = "wGET /page HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    write(&mut socket, request).await;
    assert!(rest(socket).await.ends_with("127.0.0.1"));

    assert_eq!(panics.heard().len(), 1);
    // One server among those of all tests; no other one shakes hands so badly.
    until(|| counted("handshake", 4)).await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_handshake() {
    let service = Service::start(|serve| serve.over(shake)).await;
    let mut socket = service.connect().await;
    write(&mut socket, "never").await;
    let mut shaken = service.connect().await;
    write(&mut shaken, "wGET /core HTTP/1.1\r\nhost: a\r\n\r\n").await;
    service.runs(1).await;

    service.guard.drain().start();

    assert_eq!(rest(socket).await, "");
    service.go_on.add_permits(1);
    assert!(rest(shaken).await.ends_with("done"));
    assert_eq!(service.served.await.unwrap().cut, 0);
}

/// Has a last word that nobody takes.
struct LastWord(TcpStream);

impl AsyncRead for LastWord {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, to)
    }
}

impl AsyncWrite for LastWord {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn what_stands_over_a_connection_and_is_not_taken_is_not_waited_for() {
    let keeps: Change = |serve| {
        let serve = over_what_keeps_bytes(serve).connections(1);
        serve.write(Duration::from_millis(50))
    };
    let last_word: Change = |serve| {
        let serve = serve.over(|stream| async { Ok(LastWord(stream)) });
        serve.connections(1).write(Duration::from_millis(50))
    };
    for (change, path, connection) in [
        (keeps, "/core/large", "keep-alive"),
        (last_word, "/page", "close"),
    ] {
        let service = Service::start(change).await;
        let mut stuck = service.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: {connection}\r\n\r\n");
        write(&mut stuck, &request).await;
        assert!(head(&mut stuck).await.starts_with("HTTP/1.1 200"));

        // Its place comes back: long before an idle connection is closed.
        let mut next = service.send("/page").await;
        let answered = clock::timeout(Duration::from_secs(60), head(&mut next)).await;

        assert!(answered.expect(path).starts_with("HTTP/1.1 200"));
    }
}
