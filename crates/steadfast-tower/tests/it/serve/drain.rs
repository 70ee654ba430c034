//! The end of a server.

use tokio::net::TcpStream;

use super::{Change, Service, head, over_what_keeps_bytes, rest};

#[tokio::test]
async fn a_drain_closes_idle_connections_at_once_and_serves_what_has_begun() {
    let service = Service::start(|serve| serve).await;
    let mut idle = service.send("/page").await;
    head(&mut idle).await;
    let core = service.send("/core").await;
    service.runs(1).await;

    service.guard.drain().start();

    assert!(
        rest(idle).await.ends_with("127.0.0.1"),
        "closed, and nothing else was waited for"
    );
    service.go_on.add_permits(1);
    assert!(rest(core).await.ends_with("done"));
    let served = service.served.await.unwrap();
    assert!(served.drained.is_clean());
    assert_eq!(served.cut, 0);
    assert!(
        TcpStream::connect(service.address).await.is_err(),
        "nobody listens"
    );
}

#[tokio::test]
async fn what_is_below_core_is_cut_off_first() {
    let service = Service::start(|serve| serve).await;
    let (lower, core) = (service.send("/wait").await, service.send("/core").await);
    service.runs(2).await;

    service.guard.drain().start();

    assert_eq!(
        rest(lower).await,
        "",
        "after the time of what is below core"
    );
    service.go_on.add_permits(1);
    assert!(rest(core).await.ends_with("done"));
    assert_eq!(service.served.await.unwrap().cut, 1);
}

#[tokio::test]
async fn an_answer_of_core_that_is_not_sent_yet_is_not_cut_off_with_what_is_below() {
    core_that_is_not_sent_is_not_cut_off(|serve| serve).await;
    core_that_is_not_sent_is_not_cut_off(over_what_keeps_bytes).await;
}

async fn core_that_is_not_sent_is_not_cut_off(change: Change) {
    let service = Service::start(change).await;
    let (lower, mut core) = (
        service.send("/wait").await,
        service.send("/core/large").await,
    );
    service.runs(1).await;
    // Then its handler has ended, and all of the body is given.
    assert!(head(&mut core).await.starts_with("HTTP/1.1 200"));

    service.guard.drain().start();

    assert_eq!(rest(lower).await, "", "the time of what is below is over");
    assert_eq!(rest(core).await.len(), 32 << 20);
    assert_eq!(service.served.await.unwrap().cut, 1);
}

#[tokio::test]
async fn a_server_that_is_dropped_takes_its_connections_along() {
    let service = Service::start(|serve| serve).await;
    let waits = service.send("/wait").await;
    service.runs(1).await;

    service.served.abort();

    assert_eq!(rest(waits).await, "");
    service.runs(0).await;
}
