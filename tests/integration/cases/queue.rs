//! What waits for somebody.

use serde_json::{Value, json};

use super::row::{Access::User, Row, at, route};

pub fn rows() -> Vec<Row> {
    let text: Value = json!({"conversationId": "$group", "content": "a text"});
    let size = route("GET /api/queue/size", User)
        .success(
            at("")
                .by("gil")
                .after("ann", "conversation:add-members", json!({"conversationId": "$group", "members": ["gil"]}))
                .after("ann", "message:send", text)
                .holds(json!({"size": 1, "oldestAt": "*"})),
        )
        .success(at("").by("hal").holds(json!({"size": 0, "oldestAt": null})))
        .no_refusal("everybody may ask for his own")
        .no_foreign("it names no object")
        .no_bad("it takes nothing");
    vec![size]
}
