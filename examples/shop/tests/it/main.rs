//! The shop, without a socket.

#[tokio::test]
async fn the_policy_has_nothing_doubtful_in_it_and_every_route_is_guarded() {
    let shop = steadfast_shop::open("127.0.0.1:1").await.unwrap();

    assert_eq!(shop.guard.warnings(), []);
    let armed = shop.guard.armed();
    assert!(armed.is_clean(), "{armed}");
    assert_eq!(armed.routes.len(), 5);
}
