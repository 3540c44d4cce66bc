//! Who the caller is: the edge has one account and one token.
//!
//! **Invariant:** answers here depend on nothing but the path.

use axum::extract::Path;
use http::StatusCode;
use serde_json::{Value, json};

use super::super::record::hex_of;
use super::answer::{Answer, ok, ok_with};
use super::show::AUTHOR;

/// The id under which the account is listed; any other 32 hex digits name the same one.
fn account_id() -> String {
    hex_of("trunkline edge account")
}

fn account_json(id: &str) -> Value {
    json!({ "id": id, "name": "Trunkline edge", "type": "standard", "settings": {}, "created_on": null })
}

fn one(item: &Value) -> Answer {
    let info = json!({ "page": 1, "per_page": 20, "count": 1, "total_count": 1, "total_pages": 1 });
    ok_with(json!([item]), Some(info), StatusCode::OK)
}

/// `GET /user/tokens/verify` and `GET /accounts/{a}/tokens/verify`.
pub(super) async fn verify() -> Answer {
    ok(json!({ "id": hex_of("trunkline edge token"), "status": "active" }))
}

/// `GET /user`.
pub(super) async fn user() -> Answer {
    ok(
        json!({ "id": hex_of("trunkline edge user"), "email": AUTHOR, "username": "edge", "two_factor_authentication_enabled": false }),
    )
}

/// `GET /accounts`.
pub(super) async fn accounts() -> Answer {
    one(&account_json(&account_id()))
}

/// `GET /accounts/{a}`.
pub(super) async fn account(Path(id): Path<String>) -> Answer {
    ok(account_json(&id))
}

/// `GET /memberships`.
pub(super) async fn memberships() -> Answer {
    one(
        &json!({ "id": hex_of("trunkline edge membership"), "status": "accepted", "account": account_json(&account_id()), "roles": ["Super Administrator"] }),
    )
}
