//! Another token for a connection.

use serde_json::json;

use super::row::{EVERYWHERE, Row, ask, event};

pub fn rows() -> Vec<Row> {
    let refresh = event("auth:refresh", EVERYWHERE)
        .success(ask(json!({"token": "$token"})).holds(json!({"expiresAt": "*"})))
        .refusal(ask(json!({"token": "$token"})).by("ben").code("forbidden"))
        .refusal(ask(json!({"token": ""})).code("token_missing"))
        .refusal(ask(json!({"token": "x"})).code("token_malformed"))
        .refusal(ask(json!({"token": "$token.x"})).code("token_malformed"))
        .refusal(ask(json!({"token": "$token-"})).code("token_invalid"))
        .no_foreign("it names no object; somebody else's token is forbidden")
        .bad(ask(json!({"token": {"token": "$token"}})).invalid("token"))
        .long_code("token_malformed");
    vec![refresh]
}
