//! The document of the API, and that router, rights and document are of one table.

use std::collections::BTreeSet;
use std::path::Path;

use steadfast::tower::PolicyDocument;

use super::auth::ROLES;
use super::document::document;
use super::table::ENDPOINTS;

#[test]
fn the_document_is_what_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/api.json");
    let expect = serde_json::to_string_pretty(&document("")).unwrap() + "\n";
    if std::env::var_os("STEADFAST_BLESS").is_some() {
        std::fs::write(&path, &expect).unwrap();
    }
    let is = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        is == expect,
        "docs/reference/api.json is out of date: run with STEADFAST_BLESS=1"
    );
}

#[test]
fn nothing_is_to_be_said_against_the_policy_of_the_api() {
    let policy = PolicyDocument::new("the API", super::server::policy("")).unwrap();

    assert!(policy.warnings().is_none(), "{:?}", policy.warnings());
}

#[test]
fn every_reference_of_the_document_leads_somewhere_and_nothing_is_left_over() {
    let document = document("");
    let named = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    let mut referred = BTreeSet::new();
    for part in text.split("#/components/schemas/").skip(1) {
        referred.insert(part.split('"').next().unwrap());
    }

    let known: BTreeSet<&str> = named.keys().map(String::as_str).collect();

    assert_eq!(referred, known);
}

#[test]
fn every_action_of_an_endpoint_belongs_to_a_role_and_roles_grow() {
    let [viewer, operator, admin] = ROLES;
    for endpoint in ENDPOINTS {
        let action = endpoint.action;
        assert!(admin.may(action), "{}", action.0);
        assert!(!viewer.may(action) || operator.may(action), "{}", action.0);
        assert!(!viewer.may(action) || !action.changes(), "{}", action.0);
        // A document is sent to be looked at, and nothing becomes of it.
        let looks = endpoint.method == "GET" || endpoint.path == "/api/v1/policy/diff";
        assert_eq!(action.changes(), !looks, "{}", endpoint.path);
    }
}
