//! What the app's own backend may do.

use serde_json::{Value, json};

use super::row::{Access::Backend, Row, ask, at, route};

/// Every object is the backend's to see.
const ALL_ITS_OWN: &str = "the backend may see every object";

pub fn rows() -> Vec<Row> {
    [users(), tokens(), blocking(), vec![messages(), notifications(), emit()]].concat()
}

fn users() -> Vec<Row> {
    let user = |id: &str| json!({"id": id, "username": "A name", "avatar": "https://example.com/a.png"});
    let make = route("POST /api/server/users", Backend)
        .success(ask(user("$fresh")).holds(json!({"id": "$fresh", "username": "A name"})))
        .success(ask(user("gil")).after("gil", "heartbeat", json!({})).status(200).holds(json!({"id": "gil"})))
        .no_refusal("the backend may make any user")
        .no_foreign(ALL_ITS_OWN)
        .bad(ask(user("")).invalid("id"))
        .bad(ask(user("a\u{202e}b")).invalid("id"))
        .bad(ask(json!({"id": "a", "username": "x".repeat(1025)})).too_long("username"))
        .bad(ask(json!({"id": "a", "avatar": "x".repeat(1025)})).too_long("avatar"));
    let cut = route("POST /api/server/disconnect", Backend)
        .success(ask(json!({"userId": "$fresh"})).holds(json!({"userId": "$fresh", "disconnected": 0})))
        .no_refusal("who is not connected need not be disconnected")
        .no_foreign(ALL_ITS_OWN)
        .bad(ask(json!({"userId": ""})).invalid("userId"));
    let cut_named = route("POST /api/server/users/{id}/disconnect", Backend)
        .success(at("$fresh").holds(json!({"userId": "$fresh", "disconnected": 0})))
        .no_refusal("who is not connected need not be disconnected")
        .no_foreign(ALL_ITS_OWN)
        .no_bad("it takes nothing but an id");
    vec![make, cut, cut_named]
}

fn tokens() -> Vec<Row> {
    let blocked = "POST /api/server/users/$fresh/block";
    let signed = json!({"userId": "$fresh", "token": "*", "tokenId": "*", "expiresAt": "*"});
    let sign = route("POST /api/server/token", Backend)
        .success(ask(json!({"userId": "$fresh", "expiresIn": 60, "roles": ["editor"]})).holds(signed.clone()))
        .refusal(ask(json!({"userId": "$fresh"})).after("backend", blocked, Value::Null).code("user_blocked"))
        .no_foreign(ALL_ITS_OWN)
        .bad(ask(json!({"userId": "a", "expiresIn": 0})).invalid("expiresIn"))
        .bad(ask(json!({"userId": "a", "expiresIn": 315_360_001})).invalid("expiresIn"))
        .bad(ask(json!({"userId": "a", "roles": [""]})).invalid("roles"))
        .bad(ask(json!({"userId": "a", "roles": vec!["editor"; 33]})).too_long("roles"));
    let sign_named = route("POST /api/server/users/{id}/token", Backend)
        .success(ask(json!({"expiresIn": 60, "roles": ["editor"]})).at("$fresh").holds(signed))
        .refusal(ask(json!({})).at("$fresh").after("backend", blocked, Value::Null).code("user_blocked"))
        .no_foreign(ALL_ITS_OWN)
        .bad(ask(json!({"expiresIn": -1})).at("a").invalid("expiresIn"))
        .bad(ask(json!({"roles": ["x".repeat(257)]})).at("a").invalid("roles"));
    let revoke = route("POST /api/server/tokens/revoke", Backend)
        .success(ask(json!({"userId": "$fresh"})).holds(json!({"message": "*"})))
        .success(ask(json!({"jti": "$fresh", "expiresAt": "2099-01-01T00:00:00.000Z"})).holds(json!({"message": "*"})))
        .no_refusal("what is taken back already may be taken back again")
        .no_foreign(ALL_ITS_OWN)
        .bad(ask(json!({})).invalid("payload"))
        .bad(ask(json!({"userId": "a", "jti": "b"})).invalid("payload"))
        .bad(ask(json!({"jti": ""})).invalid("jti"))
        .bad(ask(json!({"jti": "x".repeat(5000)})).too_long("jti"))
        .unlimited(&["jti"]);
    vec![sign, sign_named, revoke]
}

fn blocking() -> Vec<Row> {
    let one = |name, blocked: bool| {
        route(name, Backend)
            .success(at("$fresh").holds(json!({"userId": "$fresh", "blocked": blocked})))
            .no_refusal("a repeat changes nothing")
            .no_foreign(ALL_ITS_OWN)
            .no_bad("it takes nothing but an id")
    };
    vec![one("POST /api/server/users/{id}/block", true), one("POST /api/server/users/{id}/unblock", false)]
}

fn messages() -> Row {
    let text =
        |from: &str, conversation: &str| json!({"from": from, "conversationId": conversation, "content": "a text"});
    route("POST /api/server/messages", Backend)
        .success(
            ask(text("ann", "$group"))
                .holds(json!({"id": "*", "seq": "*", "duplicate": false, "message": {"senderId": "ann"}}))
                .told("ben", "message:new", json!({"conversationId": "$group", "senderId": "ann"})),
        )
        .success(
            ask(json!({"from": "ann", "to": "ben", "content": "a"})).holds(json!({"message": {"recipient": "ben"}})),
        )
        .refusal(ask(text("eve", "$group")).code("not_found"))
        .refusal(ask(text("ann", "0123456789abcdef01234567")).code("not_found"))
        .refusal(
            ask(text("$fresh", "$group"))
                .after("backend", "POST /api/server/users/$fresh/block", Value::Null)
                .code("user_blocked"),
        )
        .foreign(ask(text("eve", "~group")).code("not_found"))
        .bad(ask(json!({"conversationId": "$group", "content": "a"})).invalid("from"))
        .bad(ask(json!({"from": "ann", "content": "a"})).invalid("conversationId"))
        .bad(ask(json!({"from": "ann", "conversationId": "$group"})).invalid("content"))
        .bad(ask(json!({"from": "ann", "conversationId": "$group", "content": "x".repeat(5001)})).too_long("content"))
}

fn notifications() -> Row {
    let with = |key: &str, value: Value| {
        let mut wish = json!({"userId": "ann", "type": "system", "title": "a title"});
        wish[key] = value;
        ask(wish)
    };
    route("POST /api/server/notifications", Backend)
        .success(
            ask(json!({"userId": "ann", "type": "system", "title": "$fresh", "message": "a text", "priority": "urgent"}))
                .holds(json!({"recipients": 1, "notification": {"title": "$fresh", "status": "unread"}}))
                .told("ann", "notification:new", json!({"title": "$fresh", "message": "a text", "priority": "urgent"}))
                .told("ann", "notifications:count", json!({"unread": "*"})),
        )
        .success(
            ask(json!({"userIds": ["ann", "ben"], "type": "system", "title": "$fresh"}))
                .status(202)
                .holds(json!({"recipients": 2, "notification": null}))
                .told("ben", "notification:new", json!({"title": "$fresh"})),
        )
        .success(
            ask(json!({"conversationId": "$group", "type": "system", "title": "$fresh"}))
                .status(202)
                .told("ben", "notification:new", json!({"title": "$fresh"})),
        )
        .refusal(with("userId", Value::Null).invalid("userId"))
        .refusal(ask(json!({"conversationId": "0123456789abcdef01234567", "type": "system", "title": "a"})).code("not_found"))
        .no_foreign(ALL_ITS_OWN)
        .bad(with("userIds", json!(["ben"])).invalid("userId"))
        .bad(ask(json!({"userIds": [], "type": "system", "title": "a"})).invalid("userIds"))
        .bad(ask(json!({"userIds": vec!["u"; 1001], "type": "system", "title": "a"})).too_long("userIds"))
        .bad(with("type", json!("telegram")).invalid("type"))
        .bad(with("title", json!("")).invalid("title"))
        .bad(with("title", json!("ü".repeat(201))).too_long("title"))
        .bad(with("message", json!("x".repeat(501))).too_long("message"))
        .bad(with("data", json!("x".repeat(16 * 1024))).too_long("data"))
        .bad(with("actionUrl", json!("javascript:alert(1)")).invalid("actionUrl"))
        .bad(with("collapseKey", json!("")).invalid("collapseKey"))
        .bad(with("expiresAt", json!("2001-01-01T00:00:00Z")).invalid("expiresAt"))
        .unlimited(&["userIds"])
}

fn emit() -> Row {
    let with = |key: &str, value: Value| {
        let mut wish = json!({"users": ["ann"], "event": "app:news", "args": [{"a": 1}]});
        wish[key] = value;
        ask(wish)
    };
    let deaf = json!({"users": ["$fresh"], "event": "app:news"});
    route("POST /api/server/emit", Backend)
        .success(
            ask(json!({"users": ["ann"], "rooms": ["conversation:$group"], "event": "app:news", "args": [{"about": "$fresh"}]}))
                .holds(json!({"receivers": "*"}))
                .told("ann", "app:news", json!({"about": "$fresh"}))
                .told("ben", "app:news", json!({"about": "$fresh"})),
        )
        .success(ask(deaf).holds(json!({"receivers": 0})))
        .refusal(with("event", json!("message:new")).invalid("event"))
        .refusal(with("event", json!("disconnect")).invalid("event"))
        .no_foreign(ALL_ITS_OWN)
        .bad(ask(json!({"event": "app:news"})).invalid("users"))
        .bad(with("event", json!("")).invalid("event"))
        .bad(with("event", json!("x".repeat(129))).invalid("event"))
        .bad(with("namespace", json!("/nowhere")).invalid("namespace"))
        .bad(with("rooms", json!([""])).invalid("rooms"))
        .bad(with("rooms", json!(vec!["a"; 1001])).too_long("rooms"))
        .bad(with("users", json!(vec!["a"; 1001])).too_long("users"))
        .bad(with("args", json!(vec![1; 17])).too_long("args"))
        .bad(with("args", json!(["x".repeat(60_000)])).too_long("args"))
}
