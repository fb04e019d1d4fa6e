//! The object and the page of one network, from what a supervisor answers.

use super::{document, text};
use crate::render::workspace::tests::{answered, workspace};
use serde_json::{Value, json};

fn with_network() -> Value {
    let mut told = answered();
    let network = &mut told["network"];
    network["engine"] = json!("passt");
    network["interface"] = json!({
        "mac": "02:3c:41:e5:8f:c4", "address": "10.0.2.15", "prefixLength": 24,
        "gateway": "10.0.2.2", "dns": ["10.0.2.3"], "mtu": 65520
    });
    told
}

#[test]
fn the_page_has_a_line_for_each_way_in_and_out() {
    insta::assert_snapshot!(text(&workspace(with_network())), @"
    mode       nat through passt; 10.0.2.15/24, gateway 10.0.2.2, dns 10.0.2.3
    published  127.0.0.1:8080 -> 80     listening  2 open, 118 total
    mediation  2048 -> 127.0.0.1:9900   not ready  0 open, 31 total, 4 refused: connection refused
    ");
}

#[test]
fn what_was_opened_and_what_was_severed_is_said() {
    let mut told = with_network();
    told["network"]["reach"] = json!(["loopback", "local"]);
    told["network"]["severed"] = json!(true);
    told["network"]["publish"] = json!([]);
    told["mediation"] = Value::Null;
    insta::assert_snapshot!(text(&workspace(told)), @"mode       nat through passt; 10.0.2.15/24, gateway 10.0.2.2, dns 10.0.2.3; opened: loopback, local; severed");
}

#[test]
fn the_document_names_every_field_and_what_is_absent_is_null() {
    insta::assert_snapshot!(format!("{:#}", document(&workspace(with_network()))));
    let mut bare = answered();
    bare["mediation"] = Value::Null;
    let document = document(&workspace(bare));
    assert_eq!(document["interface"], Value::Null);
    assert_eq!(document["mediation"], Value::Null);
    assert_eq!(document["reach"], json!([]));
}
