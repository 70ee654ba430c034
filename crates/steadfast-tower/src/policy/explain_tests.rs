//! What is told about a route and a dependency, to the letter.

use std::time::{Duration, SystemTime};

use steadfast_core::clock::Timestamp;

use super::document_tests::{SHOP, golden};
use super::*;

fn shop() -> PolicyDocument {
    PolicyDocument::new("policy.toml", SHOP).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    (SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_457_100 + seconds)).into()
}

fn live() -> LivePolicy {
    let signed = Signed::new("ann", "first").unwrap();
    LivePolicy::new(Revision::new("shop", 1, shop(), signed, at(0)))
}

#[test]
fn a_route_is_explained_with_all_that_governs_it() {
    let explanation = shop().explain_route("POST /orders").unwrap();

    golden("route.txt", &explanation.to_string());
}

#[test]
fn a_dependency_is_explained_with_what_an_operator_holds() {
    let live = live();
    for (path, value) in [
        ("timeouts.call.timeout", "400ms"),
        ("breakers.careful.consecutive", "5"),
    ] {
        let signed = Signed::new("bob", "INC-7, gateway is slow").unwrap();
        let one = Override::new(path.parse().unwrap(), value, at(3_600), signed).unwrap();
        live.hold(one, at(0)).unwrap();
    }

    let explanation = live.in_force().explain_dependency("payments").unwrap();

    golden("dependency.txt", &explanation.to_string());
}

#[test]
fn a_request_is_explained_by_the_route_that_serves_it() {
    let subject = |name: &str| shop().explain_route(name).map(|found| found.subject);

    assert_eq!(subject("POST /orders").unwrap(), "routes.\"POST /orders\"");
    assert_eq!(subject("GET /orders").unwrap(), "routes./orders");
    assert_eq!(subject("/orders").unwrap(), "routes./orders");
    assert_eq!(
        subject("/order").unwrap_err().to_string(),
        "there is no \"/order\" among routes; did you mean \"/orders\"?"
    );
    let unknown = shop().explain_dependency("paymnets").unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "there is no \"paymnets\" among dependencies; did you mean \"payments\"?"
    );
    let other = shop().explain_dependency("gateway").unwrap_err();
    assert_eq!(
        other.to_string(),
        "there is no \"gateway\" among dependencies; there are payments"
    );
}

#[test]
fn every_value_in_force_is_explained() {
    let document = shop();
    let explained = document.explain_route("POST /orders").unwrap();
    let governing = [
        "routes.\"POST /orders\".",
        "timeouts.page.",
        "admissions.http.",
        "drain.",
    ];

    for (path, value) in document.policy().fields() {
        let path = path.to_string();
        if !governing.iter().any(|table| path.starts_with(table)) {
            continue;
        }
        let told = explained.tables.iter().any(|table| {
            let values = table.values.iter();
            values
                .filter(|told| told.value.as_deref() == Some(&value))
                .any(|told| format!("{}.{}", table.table, told.key) == path)
        });
        assert!(told, "{path} = {value}");
    }
}

#[cfg(feature = "serde")]
#[test]
fn an_explanation_can_be_told_as_data() {
    let explanation = shop().explain_route("POST /orders").unwrap();

    let data = serde_json::to_value(&explanation).unwrap();

    assert_eq!(data["subject"], "routes.\"POST /orders\"");
    let tier = &data["tables"][0]["values"][2];
    assert_eq!(tier["key"], "tier");
    assert_eq!(tier["value"], "\"core\"");
    assert_eq!(tier["origin"]["from"], "document");
    assert_eq!(tier["origin"]["line"], 27);
}
