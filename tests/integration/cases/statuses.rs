//! Statuses.

use serde_json::json;

use super::row::{
    Access::{Backend, User},
    CHAT, Row, ask, at, event, route,
};

/// What makes ann and ben know each other.
const JOIN: &str = "join-conversation";

pub fn rows() -> Vec<Row> {
    let group = json!({"conversationId": "$group"});
    let words = json!({"status": "busy", "customStatus": {"message": "at work", "emoji": "🔧"}});
    let set = event("status:set", CHAT)
        .success(
            ask(words.clone())
                .after("ann", JOIN, group.clone())
                .holds(words)
                .told(
                    "ben",
                    "user-status",
                    json!({"userId": "ann", "status": "busy", "customStatus": {"message": "at work"}}),
                )
                .told("ann", "user-status", json!({"userId": "ann", "status": "busy"})),
        )
        .success(ask(json!({"customStatus": null})).holds(json!({"status": "*", "customStatus": null})))
        .success(ask(json!({"status": "online"})).holds(json!({"status": "online"})))
        .no_refusal("everybody may set his own")
        .no_foreign("it is the caller's own status")
        .bad(ask(json!({})).invalid("status"))
        .bad(ask(json!({"status": null})).invalid("status"))
        .bad(ask(json!({"status": "happy"})).invalid("status"))
        .bad(ask(json!({"customStatus": "words"})).invalid("customStatus"))
        .bad(ask(json!({"customStatus": ["words"]})).invalid("customStatus"))
        .bad(ask(json!({"customStatus": {"message": 5}})).invalid("customStatus.message"))
        .bad(ask(json!({"customStatus": {"message": "ü".repeat(101)}})).too_long("customStatus.message"))
        .bad(ask(json!({"customStatus": {"message": "a", "emoji": "x".repeat(33)}})).too_long("customStatus.emoji"))
        .bad(ask(json!({"customStatus": {"message": "a", "expiresAt": "soon"}})).invalid("customStatus.expiresAt"))
        .bad(ask(json!({"customStatus": {"message": "a", "expiresAt": 0}})).invalid("customStatus.expiresAt"));
    let get = event("status:get", CHAT)
        .success(
            ask(json!({"userIds": ["ann", "ben"]}))
                .by("ben")
                .after("ann", JOIN, group.clone())
                .holds(json!({"statuses": {"ann": {"userId": "ann", "status": "*"}, "ben": {"userId": "ben"}}})),
        )
        .no_refusal("everybody may ask, and hears of those whom he knows")
        .foreign(ask(json!({"userIds": ["~person"]})).holds(json!({"statuses": {}})))
        .bad(ask(json!({"userIds": "ben"})).invalid("userIds"))
        .bad(ask(json!({"userIds": ["ben", ""]})).invalid("userIds[1]"))
        .bad(ask(json!({"userIds": vec!["ben"; 101]})).too_long("userIds"));
    let of_one = route("GET /api/users/{id}/status", User)
        .success(at("ben").after("ann", JOIN, group).holds(json!({"userId": "ben", "status": "*"})))
        .success(at("ann").holds(json!({"userId": "ann"})))
        .no_refusal("everybody may ask, and hears of those whom he knows")
        .foreign(at("~person").code("not_found"))
        .no_bad("it takes nothing but an id");
    vec![set, get, of_one, presence()]
}

fn presence() -> Row {
    route("GET /api/server/presence", Backend)
        .success(
            at("").query("?users=ann,$fresh").after("ann", "heartbeat", json!({})).holds(
                json!({"statuses": {"ann": {"userId": "ann"}, "$fresh": {"status": "offline", "lastSeen": null}}}),
            ),
        )
        .no_refusal("the backend may ask for everybody")
        .no_foreign("the backend may see every user, and whoever does not exist is offline")
        .bad(at("").invalid("users"))
        .bad(at("").query("?users=ann,").invalid("users"))
        .bad(at("").query("?users=a%0Ab").invalid("users"))
        .bad(at("").query(MANY).too_long("users"))
}

/// More users than one may ask for.
const MANY: &str = "?users=a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,\
    a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a";
