//! Typing.

use serde_json::json;

use super::row::{CHAT, Row, ask, event};

pub fn rows() -> Vec<Row> {
    let told = json!({"from": "ann", "userId": "ann", "conversationId": "$group", "groupId": "$group", "isTyping": true,
        "activity": "typing"});
    let types = event("user:typing", CHAT)
        .success(
            ask(json!({"conversationId": "$group"}))
                .told("ben", "user:typing", told.clone())
                .told("ben", "typing", told),
        )
        .success(ask(json!({"groupId": "$group", "activity": "recording-audio"})).told(
            "ben",
            "user:typing",
            json!({"conversationId": "$group", "activity": "recording-audio"}),
        ))
        .success(
            ask(json!({"conversationId": "$group", "isTyping": false}))
                .after("ann", "user:typing", json!({"conversationId": "$group"}))
                .told("ben", "typing-stopped", json!({"from": "ann", "conversationId": "$group"})),
        )
        .no_refusal("every member may type")
        .foreign(ask(json!({"conversationId": "~group"})).code("not_found"))
        .foreign(ask(json!({"groupId": "~group"})).code("not_found"))
        .foreign(ask(json!({"to": "~group"})).code("not_found"))
        .foreign(ask(json!({"to": "~person"})).code("not_found"))
        .bad(ask(json!({})).invalid("conversationId"))
        .bad(ask(json!({"conversationId": "x"})).invalid("conversationId"))
        .bad(ask(json!({"to": "a\u{0}b"})).invalid("to"))
        .bad(ask(json!({"conversationId": "$group", "activity": ""})).invalid("activity"))
        .bad(ask(json!({"conversationId": "$group", "activity": "<b>"})).invalid("activity"))
        .bad(ask(json!({"conversationId": "$group", "activity": "x".repeat(33)})).invalid("activity"));
    let stop = event("typing:stop", CHAT)
        .success(
            ask(json!({"conversationId": "$group"}))
                .after("ann", "user:typing", json!({"conversationId": "$group"}))
                .told("ben", "user:typing", json!({"conversationId": "$group", "isTyping": true})),
        )
        .success(ask(json!({"groupId": "$group"})))
        .no_refusal("every member may stop, whether he typed or not")
        .foreign(ask(json!({"conversationId": "~group"})).code("not_found"))
        .foreign(ask(json!({"to": "~person"})).code("not_found"))
        .bad(ask(json!({})).invalid("conversationId"))
        .bad(ask(json!({"to": ""})).invalid("to"));
    vec![types, stop]
}
