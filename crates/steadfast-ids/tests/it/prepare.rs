use steadfast_ids::PACKAGE;
use steadfast_store::testing::assert_prepares;

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_prepares_on_both_databases() {
    assert_prepares(&PACKAGE, env!("CARGO_MANIFEST_DIR")).await;
}
