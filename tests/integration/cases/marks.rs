//! What is put beside messages: reactions, pins, and copies elsewhere.

use serde_json::{Value, json};

use super::row::{Access::User, CHAT, Row, ask, at, event, route};

pub fn rows() -> Vec<Row> {
    [reactions(), vec![pin(), unpin(), forward()], pin_routes(), forward_routes()].concat()
}

fn this(id: &str) -> Value {
    json!({"messageId": id})
}

fn reactions() -> Vec<Row> {
    let thumb = |id: &str| json!({"messageId": id, "emoji": "👍"});
    let list = json!([{"emoji": "👍", "count": 1, "userIds": ["ben"]}]);
    let told = json!({"messageId": "$message", "conversationId": "$group", "userId": "ben", "emoji": "👍",
        "action": "added", "reactions": list});
    let react = event("message:react", CHAT)
        .success(ask(thumb("$message")).by("ben").holds(json!({"reactions": list})).told(
            "ann",
            "reaction:updated",
            told.clone(),
        ))
        .success(
            ask(json!({"messageId": "$message", "emoji": "👍", "action": "remove"}))
                .by("ben")
                .after("ben", "message:react", thumb("$message"))
                .holds(json!({"reactions": []}))
                .told("ann", "reaction:updated", json!({"messageId": "$message", "action": "removed"})),
        )
        .refusal(ask(thumb("$deleted")).code("not_found"))
        .foreign(ask(thumb("~message")).code("not_found"))
        .bad(ask(json!({"messageId": "$message", "emoji": ""})).invalid("emoji"))
        .bad(ask(json!({"messageId": "$message", "emoji": "a\nb"})).invalid("emoji"))
        .bad(ask(json!({"messageId": "$message", "emoji": "👍".repeat(9)})).too_long("emoji"));
    let react_route = route("POST /api/reactions/messages/{id}", User)
        .success(ask(json!({"emoji": "👍"})).at("$message").by("ben").holds(json!({"reactions": list})).told(
            "ann",
            "reaction:updated",
            told,
        ))
        .refusal(ask(json!({"emoji": "👍"})).at("$deleted").code("not_found"))
        .foreign(ask(json!({"emoji": "👍"})).at("~message").code("not_found"))
        .bad(ask(json!({"emoji": ""})).at("$message").invalid("emoji"))
        .bad(ask(json!({"emoji": "x".repeat(33)})).at("$message").too_long("emoji"));
    let show = route("GET /api/reactions/messages/{id}", User)
        .success(
            at("$message")
                .after("ben", "message:react", thumb("$message"))
                .holds(json!({"grouped": list, "reactions": [{"userId": "ben", "emoji": "👍"}]})),
        )
        .no_refusal("every member may look")
        .foreign(at("~message").code("not_found"))
        .bad(at("$message").query("?cursor=x").invalid("cursor"));
    // The message, the emoji and ben or eve.
    let (of_ben, of_eve) = ("$message.8J-RjQ.YmVu", "~message.8J-RjQ.ZXZl");
    let take_back = route("DELETE /api/reactions/{id}", User)
        .success(
            at(of_ben).by("ben").after("ben", "message:react", thumb("$message")).holds(json!({"reactions": []})).told(
                "ann",
                "reaction:updated",
                json!({"messageId": "$message", "action": "removed"}),
            ),
        )
        .refusal(at(of_ben).by("ann").after("ben", "message:react", thumb("$message")).code("not_found"))
        .foreign(at(of_eve).code("not_found"))
        .bad(at("$message.8J-RjQ").by("ben").code("not_found"));
    vec![react, react_route, show, take_back]
}

fn pin() -> Row {
    event("message:pin", CHAT)
        .success(ask(this("$message")).told(
            "ben",
            "message:pinned",
            json!({"messageId": "$message", "pinnedBy": "ann", "groupId": "$group"}),
        ))
        .success(ask(this("$direct_message")).by("ben"))
        .refusal(ask(this("$message")).by("ben").code("forbidden"))
        .refusal(ask(this("$deleted")).code("not_found"))
        .foreign(ask(this("~message")).code("not_found"))
        .bad(ask(this("x")).invalid("messageId"))
}

fn unpin() -> Row {
    event("message:unpin", CHAT)
        .success(ask(this("$message")).after("ann", "message:pin", this("$message")).told(
            "ben",
            "message:unpinned",
            json!({"messageId": "$message", "pinnedBy": "ann"}),
        ))
        .refusal(ask(this("$message")).by("ben").code("forbidden"))
        .foreign(ask(this("~message")).code("not_found"))
        .bad(ask(this("")).invalid("messageId"))
}

fn forward() -> Row {
    let copy = |id: &str, to: &str| json!({"messageId": id, "conversationIds": [to]});
    event("message:forward", CHAT)
        .success(
            ask(copy("$message", "$other"))
                .holds(json!({"messages": [{"conversationId": "$other", "forwardedFrom": "$message"}]}))
                .told("ben", "message:new", json!({"conversationId": "$other", "forwardedFrom": "$message"})),
        )
        .refusal(ask(copy("$deleted", "$other")).code("not_found"))
        .refusal(
            ask(copy("$message", "$other"))
                .by("ben")
                .after("ben", "conversation:leave", json!({"conversationId": "$other"}))
                .code("not_found"),
        )
        .foreign(ask(copy("~message", "$eves")).code("not_found"))
        .foreign(ask(copy("$eves_message", "~group")).code("not_found"))
        .bad(ask(json!({"messageId": "$message", "conversationIds": []})).invalid("conversationIds"))
        .bad(ask(json!({"messageId": "$message", "conversationIds": ["x"]})).invalid("conversationIds[0]"))
        .bad(ask(json!({"messageId": "$message", "conversationIds": vec!["$other"; 21]})).too_long("conversationIds"))
}

fn pin_routes() -> Vec<Row> {
    let pin = route("POST /api/messages/{id}/pin", User)
        .success(at("$message").told("ben", "message:pinned", json!({"messageId": "$message", "pinnedBy": "ann"})))
        .refusal(at("$message").by("ben").code("forbidden"))
        .foreign(at("~message").code("not_found"))
        .no_bad("it takes nothing but an id");
    let unpin = route("DELETE /api/messages/{id}/pin", User)
        .success(at("$message").after("ann", "message:pin", this("$message")).told(
            "ben",
            "message:unpinned",
            json!({"messageId": "$message", "pinnedBy": "ann"}),
        ))
        .refusal(at("$message").by("ben").code("forbidden"))
        .foreign(at("~message").code("not_found"))
        .no_bad("it takes nothing but an id");
    let pinned = route("GET /api/messages/conversation/{id}/pinned", User)
        .success(
            at("$group")
                .by("ben")
                .after("ann", "message:pin", this("$message"))
                .holds(json!({"pinnedMessages": [{"id": "$message", "isPinned": true, "pinnedBy": "ann"}]})),
        )
        .no_refusal("every member may look")
        .foreign(at("~group").code("not_found"))
        .no_bad("it takes nothing but an id");
    vec![pin, unpin, pinned]
}

fn forward_routes() -> Vec<Row> {
    let to = |id: &str| json!({"conversationIds": [id]});
    let forward = route("POST /api/messages/{id}/forward", User)
        .success(
            ask(to("$other"))
                .at("$message")
                .holds(json!({"messages": [{"conversationId": "$other", "forwardedFrom": "$message"}], "count": 1}))
                .told("ben", "message:new", json!({"conversationId": "$other", "forwardedFrom": "$message"})),
        )
        .refusal(ask(to("$other")).at("$deleted").code("not_found"))
        .foreign(ask(to("$eves")).at("~message").code("not_found"))
        .foreign(ask(to("~group")).at("$eves_message").code("not_found"))
        .bad(ask(json!({"conversationIds": []})).at("$message").invalid("conversationIds"))
        .bad(ask(json!({"conversationIds": ["x"]})).at("$message").invalid("conversationIds[0]"))
        .bad(ask(json!({"conversationIds": vec!["$other"; 21]})).at("$message").too_long("conversationIds"));
    vec![forward]
}
