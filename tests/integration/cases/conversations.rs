//! Conversations, and when somebody last looked at them.

use serde_json::json;

use super::row::{Access::User, CHAT, Row, ask, at, event, route};

pub fn rows() -> Vec<Row> {
    [making(), members(), leaving(), naming(), looking(), routes(), member_routes()].concat()
}

fn making() -> Vec<Row> {
    let group = json!({"type": "group", "participants": ["ben"], "name": "a group"});
    let create = event("conversation:create", CHAT)
        .success(
            ask(group)
                .holds(json!({"conversation": {"id": "*", "type": "group", "admins": ["ann"], "name": "a group"}}))
                .told("ben", "conversation:joined", json!({"conversation": {"createdBy": "ann"}})),
        )
        .success(
            ask(json!({"type": "direct", "participants": ["ben"]}))
                .holds(json!({"conversation": {"type": "direct", "admins": [], "name": null}})),
        )
        .no_refusal("every user may make conversations")
        .no_foreign("it names users alone, and whoever does not exist is made")
        .bad(ask(json!({"type": "direct", "participants": []})).invalid("participants"))
        .bad(ask(json!({"type": "direct", "participants": ["ben", "gil"]})).invalid("participants"))
        .bad(ask(json!({"type": "direct", "participants": ["ann"]})).invalid("participants"))
        .bad(ask(json!({"type": "group", "participants": [""]})).invalid("participants[0]"))
        .bad(ask(json!({"type": "group", "participants": ["a\u{202e}b"]})).invalid("participants[0]"))
        .bad(ask(json!({"type": "group", "participants": ["x".repeat(129)]})).invalid("participants[0]"))
        .bad(ask(json!({"type": "group", "participants": ["ben"], "name": "x".repeat(101)})).too_long("name"));
    let join = event("join-conversation", CHAT)
        .success(ask(json!({"conversationId": "$group"})).by("ben"))
        .no_refusal("every member may join its room")
        .foreign(ask(json!({"conversationId": "~group"})).code("not_found"))
        .bad(ask(json!({"conversationId": "x"})).invalid("conversationId"))
        .bad(ask(json!({"conversationId": "0123456789ABCDEF01234567x"})).invalid("conversationId"));
    vec![create, join]
}

fn members() -> Vec<Row> {
    let gil = |id: &str| json!({"conversationId": id, "members": ["gil"]});
    let add = event("conversation:add-members", CHAT)
        .success(
            ask(gil("$group"))
                .holds(json!({"conversation": {"id": "$group", "participants": ["*", "*", "*"]}}))
                .told("gil", "conversation:joined", json!({"conversation": {"id": "$group"}}))
                .told("ben", "conversation:updated", json!({"conversation": {"id": "$group"}})),
        )
        .refusal(ask(gil("$group")).by("ben").code("forbidden"))
        .refusal(ask(gil("$direct")).code("forbidden"))
        .foreign(ask(gil("~group")).code("not_found"))
        .bad(ask(json!({"conversationId": "x", "members": ["gil"]})).invalid("conversationId"))
        .bad(ask(json!({"conversationId": "$group", "members": ["gil", 7]})).invalid("members[1]"));
    let ben = |id: &str| json!({"conversationId": id, "members": ["ben"]});
    let remove = event("conversation:remove-members", CHAT)
        .success(ask(ben("$group")).holds(json!({"conversation": {"id": "$group", "participants": ["*"]}})).told(
            "ben",
            "conversation:left",
            json!({"conversationId": "$group", "reason": "removed"}),
        ))
        .refusal(ask(json!({"conversationId": "$group", "members": ["ann"]})).by("ben").code("forbidden"))
        .refusal(ask(ben("$direct")).code("forbidden"))
        .foreign(ask(ben("~group")).code("not_found"))
        .bad(ask(json!({"conversationId": "$group", "members": [null]})).invalid("members[0]"));
    vec![add, remove]
}

fn leaving() -> Vec<Row> {
    let leave = event("conversation:leave", CHAT)
        .success(
            ask(json!({"conversationId": "$group"}))
                .by("ben")
                .told("ben", "conversation:left", json!({"conversationId": "$group", "reason": "left"}))
                .told("ann", "conversation:updated", json!({"conversation": {"id": "$group"}})),
        )
        .refusal(ask(json!({"conversationId": "$direct"})).code("forbidden"))
        .foreign(ask(json!({"conversationId": "~group"})).code("not_found"))
        .bad(ask(json!({"conversationId": ["$group"]})).invalid("conversationId"));
    vec![leave]
}

fn naming() -> Vec<Row> {
    let named = |id: &str, name: &str| json!({"conversationId": id, "name": name});
    let rename = event("conversation:rename", CHAT)
        .success(
            ask(named("$group", "another name"))
                .holds(json!({"conversation": {"id": "$group", "name": "another name"}}))
                .told("ben", "conversation:updated", json!({"conversation": {"id": "$group", "name": "another name"}})),
        )
        .refusal(ask(named("$group", "mine")).by("ben").code("forbidden"))
        .refusal(ask(named("$direct", "ours")).code("forbidden"))
        .foreign(ask(named("~group", "mine")).code("not_found"))
        .bad(ask(named("$group", "")).invalid("name"))
        .bad(ask(named("$group", " ")).invalid("name"))
        .bad(ask(named("$group", &"ü".repeat(101))).too_long("name"));
    vec![rename]
}

fn looking() -> Vec<Row> {
    let view = event("conversation:view", CHAT)
        .success(ask(json!({"conversationId": "$group"})).holds(json!({"lastSeenAt": "*"})))
        .no_refusal("every member may look")
        .foreign(ask(json!({"conversationId": "~group"})).code("not_found"))
        .bad(ask(json!({"conversationId": "x"})).invalid("conversationId"));
    let last_seen = route("GET /api/conversations/{id}/last-seen", User)
        .success(
            at("$group")
                .after("ben", "conversation:view", json!({"conversationId": "$group"}))
                .holds(json!({"lastSeen": {"ben": "*"}})),
        )
        .no_refusal("every member may ask")
        .foreign(at("~group").code("not_found"))
        .no_bad("it takes nothing but an id");
    vec![view, last_seen]
}

fn routes() -> Vec<Row> {
    let list = route("GET /api/conversations", User)
        .success(at("").by("hal").holds(json!([])))
        .success(
            at("")
                .query("?limit=1&page=1")
                .after("ann", "join-conversation", json!({"conversationId": "$group"}))
                .holds(json!([{"id": "$group"}])),
        )
        .no_refusal("every user may list his own")
        .no_foreign("it names no object")
        .bad(at("").query("?limit=").invalid("limit"));
    let create = route("POST /api/conversations", User)
        .success(
            ask(json!({"type": "group", "participants": ["ben"], "name": "a group"}))
                .holds(json!({"id": "*", "type": "group"}))
                .told("ben", "conversation:joined", json!({"conversation": {"createdBy": "ann"}})),
        )
        .success(
            ask(json!({"type": "direct", "participants": ["ben"]}))
                .after("ann", "join-conversation", json!({"conversationId": "$direct"}))
                .status(200)
                .holds(json!({"id": "$direct"})),
        )
        .no_refusal("every user may make conversations")
        .no_foreign("it names users alone, and whoever does not exist is made")
        .bad(ask(json!({"type": "direct", "participants": ["a", "b"]})).invalid("participants"))
        .bad(ask(json!({"type": "group", "participants": ["ben"], "name": "x".repeat(101)})).too_long("name"));
    let direct = route("POST /api/conversations/direct", User)
        .success(
            ask(json!({"participantId": "ben"}))
                .status(200)
                .after("ann", "join-conversation", json!({"conversationId": "$direct"}))
                .holds(json!({"id": "$direct", "type": "direct"})),
        )
        .success(ask(json!({"participantId": "$fresh"})).holds(json!({"type": "direct"})))
        .no_refusal("every user may write to every other one")
        .no_foreign("it names a user, and whoever does not exist is made")
        .bad(ask(json!({"participantId": "ann"})).invalid("participants"))
        .bad(ask(json!({"participantId": ""})).invalid("participantId"))
        .bad(ask(json!({"participantId": "x".repeat(129)})).invalid("participantId"));
    let show = route("GET /api/conversations/{id}", User)
        .success(at("$group").by("ben").holds(json!({"id": "$group", "participants": ["*", "*"]})))
        .no_refusal("every member may ask")
        .foreign(at("~group").code("not_found"))
        .no_bad("it takes nothing but an id");
    vec![list, create, direct, show]
}

fn member_routes() -> Vec<Row> {
    let gil = json!({"members": ["gil"]});
    let add = route("POST /api/conversations/{id}/members", User)
        .success(ask(gil.clone()).at("$group").holds(json!({"id": "$group", "participants": ["*", "*", "*"]})).told(
            "gil",
            "conversation:joined",
            json!({"conversation": {"id": "$group"}}),
        ))
        .refusal(ask(gil.clone()).at("$group").by("ben").code("forbidden"))
        .refusal(ask(gil.clone()).at("$direct").code("forbidden"))
        .foreign(ask(gil).at("~group").code("not_found"))
        .bad(ask(json!({"members": ["a\u{0}b"]})).at("$group").invalid("members[0]"));
    let ben = json!({"members": ["ben"]});
    let remove = route("DELETE /api/conversations/{id}/members", User)
        .success(ask(ben.clone()).at("$group").holds(json!({"id": "$group", "participants": ["*"]})).told(
            "ben",
            "conversation:left",
            json!({"conversationId": "$group", "reason": "removed"}),
        ))
        .success(ask(ben.clone()).at("$group").by("ben").holds(json!({"message": "ok"})))
        .refusal(ask(json!({"members": ["ann"]})).at("$group").by("ben").code("forbidden"))
        .refusal(ask(ben.clone()).at("$direct").code("forbidden"))
        .foreign(ask(ben).at("~group").code("not_found"))
        .foreign(ask(json!({"members": ["eve"]})).at("~group").code("not_found"))
        .bad(ask(json!({"members": ["ben", [1]]})).at("$group").invalid("members[1]"));
    vec![add, remove]
}
