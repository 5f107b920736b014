//! Receipts: what was read and what has arrived.

use serde_json::{Value, json};

use super::row::{Access::User, CHAT, Row, ask, at, event, route};

pub fn rows() -> Vec<Row> {
    [vec![read(), delivered()], routes()].concat()
}

fn text() -> Value {
    json!({"conversationId": "$group", "content": "a text"})
}

fn read() -> Row {
    event("message:read", CHAT)
        .success(ask(json!({"messageId": "$message"})).by("ben").told(
            "ann",
            "message:read",
            json!({"messageId": "$message", "conversationId": "$group", "readBy": "ben", "upToSeq": "*", "readAt": "*"}),
        ))
        .success(
            ask(json!({"conversationId": "$group", "upToSeq": 1}))
                .by("ben")
                .after("ann", "message:send", text())
                .told("ann", "message:read", json!({"conversationId": "$group", "readBy": "ben"})),
        )
        .no_refusal("every member may read")
        .foreign(ask(json!({"messageId": "~message"})).code("not_found"))
        .foreign(ask(json!({"conversationId": "~group", "upToSeq": 0})).code("not_found"))
        .foreign(ask(json!({"conversationId": "~group", "upToSeq": 99})).code("not_found"))
        .bad(ask(json!({})).invalid("messageId"))
        .bad(ask(json!({"conversationId": "$group"})).invalid("upToSeq"))
        .bad(ask(json!({"conversationId": "$group", "upToSeq": 99})).invalid("upToSeq"))
        .bad(ask(json!({"messageId": "$message", "upToSeq": 1})).invalid("upToSeq"))
        .bad(ask(json!({"messageId": "x"})).invalid("messageId"))
}

fn delivered() -> Row {
    let told = json!({"messageId": "$message", "conversationId": "$group", "deliveredTo": "ben", "upToSeq": "*"});
    event("message:delivered", CHAT)
        .success(ask(json!({"messageId": "$message"})).by("ben").told("ann", "message:delivered", told.clone()))
        .success(ask(json!({"messageIds": ["$message"]})).by("ben").told("ann", "message:delivered", told))
        .success(
            ask(json!({"conversationId": "$group", "upToSeq": 1})).by("ben").after("ann", "message:send", text()).told(
                "ann",
                "message:delivered",
                json!({"conversationId": "$group", "deliveredTo": "ben"}),
            ),
        )
        .no_refusal("every member may confirm")
        .foreign(ask(json!({"messageId": "~message"})).code("not_found"))
        .foreign(ask(json!({"messageIds": ["~message"]})).code("not_found"))
        .foreign(ask(json!({"messageIds": ["$eves_message", "~message"]})).code("not_found"))
        .foreign(ask(json!({"conversationId": "~group", "upToSeq": 0})).code("not_found"))
        .bad(ask(json!({})).invalid("messageId"))
        .bad(ask(json!({"messageIds": ["$message", "x"]})).invalid("messageIds[1]"))
        .bad(ask(json!({"messageIds": vec!["$message"; 501]})).too_long("messageIds"))
        .bad(ask(json!({"conversationId": "$group", "upToSeq": 99})).invalid("upToSeq"))
}

fn routes() -> Vec<Row> {
    let read = route("POST /api/messages/{id}/read", User)
        .success(at("$message").by("ben").holds(json!({"message": "*"})).told(
            "ann",
            "message:read",
            json!({"messageId": "$message", "readBy": "ben"}),
        ))
        .no_refusal("every member may read")
        .foreign(at("~message").code("not_found"))
        .no_bad("it takes nothing but an id");
    let read_all = route("POST /api/conversations/{id}/mark-read", User)
        .success(at("$group").by("ben").after("ann", "message:send", text()).holds(json!({"message": "*"})).told(
            "ann",
            "message:read",
            json!({"conversationId": "$group", "readBy": "ben"}),
        ))
        .no_refusal("every member may read")
        .foreign(at("~group").code("not_found"))
        .no_bad("it takes nothing but an id");
    let delivered = route("POST /api/messages/delivered", User)
        .success(ask(json!({"messageIds": ["$message"]})).by("ben").holds(json!({"message": "*"})).told(
            "ann",
            "message:delivered",
            json!({"messageId": "$message", "deliveredTo": "ben"}),
        ))
        .no_refusal("every member may confirm")
        .foreign(ask(json!({"messageIds": ["~message"]})).code("not_found"))
        .bad(ask(json!({"messageIds": ["x"]})).invalid("messageIds[0]"))
        .bad(ask(json!({"messageIds": vec!["$message"; 501]})).too_long("messageIds"));
    vec![read, read_all, delivered]
}
