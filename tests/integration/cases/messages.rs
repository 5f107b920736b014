//! Messages: sending, changing, deleting, reading back.

use serde_json::{Value, json};

use super::row::{Access::User, CHAT, Case, Row, ask, at, event, route};

pub fn rows() -> Vec<Row> {
    [vec![send("message:send"), send("send-message"), edit(), delete()], routes(), change_routes()].concat()
}

fn text(conversation: &str) -> Value {
    json!({"conversationId": conversation, "content": "a text"})
}

/// What is wrong with a message, over an event and over REST.
fn wrong_drafts() -> Vec<Case> {
    let with = |key: &str, value: Value| {
        let mut draft = text("$group");
        draft[key] = value;
        ask(draft)
    };
    vec![
        ask(json!({})).invalid("content"),
        ask(json!({"content": "a"})).invalid("conversationId"),
        ask(json!({"conversationId": "$group"})).invalid("content"),
        ask(json!({"to": "ann", "content": "a"})).invalid("participants"),
        ask(json!({"to": "", "content": "a"})).invalid("to"),
        ask(json!({"to": "a\u{202e}b", "content": "a"})).invalid("to"),
        with("conversationId", json!("x")).invalid("conversationId"),
        with("to", json!("ben")).invalid("to"),
        with("content", json!("")).invalid("content"),
        with("content", Value::Null).invalid("content"),
        with("content", json!("ü".repeat(5001))).too_long("content"),
        with("clientId", json!("")).invalid("clientId"),
        with("clientId", json!("x".repeat(129))).too_long("clientId"),
        with("mentions", json!(["ben", 7])).invalid("mentions[1]"),
        with("mentions", json!(vec!["ben"; 101])).too_long("mentions"),
        with("type", json!("system")).invalid("type"),
        with("replyTo", json!("$group")).invalid("replyTo"),
        with("replyTo", json!("$eves_message")).invalid("replyTo"),
        with("expiresAt", json!("yesterday")).invalid("expiresAt"),
        with("expiresAt", json!(1.5)).invalid("expiresAt"),
        with("data", json!("x".repeat(16 * 1024))).too_long("data"),
        with("mediaUrl", json!("x".repeat(2049))).too_long("mediaUrl"),
    ]
}

fn send(name: &'static str) -> Row {
    let sender = if name == "send-message" { json!("ann") } else { json!({"id": "ann"}) };
    let told = json!({"conversationId": "$group", "content": "a text", "senderId": "ann", "sender": sender});
    let row = event(name, CHAT)
        .success(
            ask(text("$group"))
                .holds(json!({"id": "*", "seq": "*", "message": {"conversationId": "$group", "senderId": "ann"}}))
                .told("ben", "message:new", told.clone())
                .told("ann", "message:new", told),
        )
        .success(ask(json!({"conversationId": "$group", "content": "ü".repeat(5000)})))
        .success(ask(json!({"to": "ben", "content": "a text"})).holds(json!({"message": {"recipient": "ben"}})))
        .refusal(
            ask(json!({"conversationId": "$group", "content": "another", "clientId": "$fresh"}))
                .after("ann", "message:send", json!({"conversationId": "$group", "content": "a", "clientId": "$fresh"}))
                .code("conflict"),
        )
        .refusal(
            ask(text("$group"))
                .by("ben")
                .after("ben", "conversation:leave", json!({"conversationId": "$group"}))
                .code("not_found"),
        )
        .foreign(ask(text("~group")).code("not_found"));
    wrong_drafts().into_iter().fold(row, Row::bad)
}

fn edit() -> Row {
    let edit = |id: &str| json!({"messageId": id, "content": "another text"});
    event("message:edit", CHAT)
        .success(
            ask(edit("$message"))
                .holds(json!({"message": {"id": "$message", "content": "another text", "edited": true, "rev": 2}}))
                .told("ben", "message:updated", json!({"messageId": "$message", "editedBy": "ann", "changeSeq": "*"})),
        )
        .refusal(ask(edit("$message")).by("ben").code("forbidden"))
        .refusal(ask(json!({"messageId": "$message", "content": "a", "rev": 7})).code("conflict"))
        .refusal(ask(json!({"messageId": "$message", "content": "a", "fence": 7})).code("conflict"))
        .refusal(ask(edit("$message")).after("ben", "message:lock", json!({"messageId": "$message"})).code("locked"))
        .refusal(ask(edit("$deleted")).code("not_found"))
        .foreign(ask(edit("~message")).code("not_found"))
        .bad(ask(json!({"messageId": "$message", "content": ""})).invalid("content"))
        .bad(ask(json!({"messageId": "$message", "content": "x".repeat(5001)})).too_long("content"))
        .bad(ask(json!({"messageId": "$message", "content": "a", "rev": 4_294_967_296_u64})).invalid("rev"))
        .bad(ask(json!({"messageId": "x", "content": "a"})).invalid("messageId"))
}

fn delete() -> Row {
    let this = |id: &str| json!({"messageId": id});
    event("message:delete", CHAT)
        .success(ask(this("$message")).holds(json!({"messageId": "$message"})).told(
            "ben",
            "message:deleted",
            json!({"messageId": "$message", "_id": "$message", "deletedBy": "ann"}),
        ))
        .success(ask(this("$bens")).told("ben", "message:deleted", json!({"messageId": "$bens", "deletedBy": "ann"})))
        .refusal(ask(this("$message")).by("ben").code("forbidden"))
        .foreign(ask(this("~message")).code("not_found"))
        .bad(ask(this("x")).invalid("messageId"))
        .bad(ask(this("0123456789abcdef0123456789")).invalid("messageId"))
}

fn routes() -> Vec<Row> {
    let send = route("POST /api/messages", User)
        .success(ask(text("$group")).holds(json!({"id": "*", "content": "a text", "senderId": "ann"})).told(
            "ben",
            "message:new",
            json!({"conversationId": "$group", "content": "a text"}),
        ))
        .success(
            ask(json!({"conversationId": "$group", "content": "a", "clientId": "$fresh"}))
                .after("ann", "message:send", json!({"conversationId": "$group", "content": "a", "clientId": "$fresh"}))
                .status(200)
                .holds(json!({"content": "a", "clientId": "$fresh"})),
        )
        .refusal(
            ask(json!({"conversationId": "$group", "content": "another", "clientId": "$fresh"}))
                .after("ann", "message:send", json!({"conversationId": "$group", "content": "a", "clientId": "$fresh"}))
                .code("conflict"),
        )
        .foreign(ask(text("~group")).code("not_found"));
    let send = wrong_drafts().into_iter().fold(send, Row::bad);
    let history =
        route("GET /api/messages/conversation/{id}", User)
            .success(at("$group").by("ben").after("ann", "message:send", text("$group")).holds(
                json!({"messages": [{"conversationId": "$group", "content": "a text"}], "page": 1, "limit": 30}),
            ))
            .success(at("$group").query("?after=9").holds(json!({"messages": []})))
            .no_refusal("every member may read")
            .foreign(at("~group").code("not_found"))
            .bad(at("$group").query("?page=100000").too_long("page"))
            .bad(at("$group").query("?before=many").invalid("before"));
    vec![send, history]
}

fn change_routes() -> Vec<Row> {
    let edit = json!({"content": "another text"});
    let change = route("PUT /api/messages/{id}", User)
        .success(
            ask(edit.clone())
                .at("$message")
                .holds(json!({"id": "$message", "content": "another text", "edited": true}))
                .told("ben", "message:updated", json!({"messageId": "$message", "editedBy": "ann"})),
        )
        .refusal(ask(edit.clone()).at("$message").by("ben").code("forbidden"))
        .refusal(ask(json!({"content": "a", "rev": 7})).at("$message").code("conflict"))
        .refusal(
            ask(edit.clone())
                .at("$message")
                .after("ben", "message:lock", json!({"messageId": "$message"}))
                .code("locked"),
        )
        .foreign(ask(edit).at("~message").code("not_found"))
        .bad(ask(json!({"content": ""})).at("$message").invalid("content"))
        .bad(ask(json!({"content": "x".repeat(5001)})).at("$message").too_long("content"));
    let remove = route("DELETE /api/messages/{id}", User)
        .success(at("$message").holds(json!({"message": "ok"})).told(
            "ben",
            "message:deleted",
            json!({"messageId": "$message", "deletedBy": "ann"}),
        ))
        .refusal(at("$message").by("ben").code("forbidden"))
        .foreign(at("~message").code("not_found"))
        .no_bad("it takes nothing but an id");
    vec![change, remove]
}
