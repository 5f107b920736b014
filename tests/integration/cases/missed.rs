//! Missed messages.

use serde_json::{Value, json};

use super::row::{CHAT, Row, ask, event};

pub fn rows() -> Vec<Row> {
    let text: Value = json!({"conversationId": "$group", "content": "a text"});
    let page = json!({"messages": [{"conversationId": "$group", "content": "a text"}], "count": 1, "changes": [],
        "hasMore": false, "nextCursor": null, "cursors": {"$group": "*"}, "complete": true, "conversationId": "$group"});
    let row = event("get-missed-messages", CHAT)
        .success(
            ask(json!({"conversationId": "$group"}))
                .by("ben")
                .after("ann", "message:send", text.clone())
                .holds(page.clone()),
        )
        .success(
            ask(json!({"conversationId": "$group", "cursors": {"$group": 0}, "limit": 1}))
                .after("ann", "message:send", text.clone())
                .holds(page.clone()),
        )
        .success(
            ask(json!({"conversationId": "$group", "lastSyncDate": 0}))
                .by("ben")
                .after("ann", "message:send", text)
                .holds(page),
        )
        .success(
            ask(json!({"lastSyncDate": "2099-01-01T00:00:00.000Z"})).holds(json!({"messages": [], "complete": true})),
        )
        .answered_by("missed-messages")
        .no_refusal("every member may ask for what he has missed")
        .foreign(ask(json!({"conversationId": "~group"})).code("not_found"))
        .foreign(ask(json!({"cursors": {"~group": 0}})).holds(json!({"gone": ["~group"], "complete": true})))
        .foreign(ask(json!({"cursors": {"~group": 99}})).holds(json!({"gone": ["~group"], "complete": true})))
        .bad(ask(json!({"cursors": []})).invalid("cursors"))
        .bad(ask(json!({"cursors": {"x": 1}})).invalid("cursors"))
        .bad(ask(json!({"cursors": {"$group": -1}})).invalid("cursors"))
        .bad(ask(json!({"cursors": {"$group": {"a": 1}}})).invalid("cursors"))
        .bad(ask(json!({"cursors": {"$group": 99}})).invalid("cursors."))
        .bad(ask(json!({"cursor": "?"})).invalid("cursor"))
        .bad(ask(json!({"cursor": ""})).invalid("cursor"))
        .bad(ask(json!({"lastSyncDate": "yesterday"})).invalid("lastSyncDate"))
        .bad(ask(json!({"lastSyncDate": "2024-02-30T00:00:00Z"})).invalid("lastSyncDate"))
        .bad(ask(json!({"limit": "many"})).invalid("limit"));
    vec![row]
}
