//! Persistent notifications.

use serde_json::{Value, json};

use super::row::{Access::User, NOTIFICATIONS, Row, ask, at, event, route};

/// Makes a notification of ann's.
const NOTIFY: &str = "POST /api/server/notifications";

pub fn rows() -> Vec<Row> {
    [asking(), changing(), choosing(), routes(), one_routes(), all_routes()].concat()
}

fn wish() -> Value {
    json!({"userId": "ann", "type": "call", "title": "a call"})
}

fn this(id: &str) -> Value {
    json!({"notificationId": id})
}

fn asking() -> Vec<Row> {
    let unread = event("notifications:unread", NOTIFICATIONS)
        .success(ask(json!({})).by("gil").holds(json!({"count": 0, "notifications": []})))
        .success(ask(Value::Null).after("backend", NOTIFY, wish()).holds(json!({"count": "*", "notifications": "*"})))
        .no_refusal("everybody may ask for his own")
        .no_foreign("it names no object")
        .no_bad("it has no fields");
    let list = event("notifications:list", NOTIFICATIONS)
        .success(
            ask(json!({"type": "call", "status": "unread", "limit": 1}))
                .after("backend", NOTIFY, wish())
                .holds(json!({"notifications": [{"type": "call", "title": "a call", "status": "unread"}]})),
        )
        .success(ask(Value::Null).by("gil").holds(json!({"notifications": [], "nextCursor": null})))
        .no_refusal("everybody may ask for his own")
        .no_foreign("it names no object; a cursor is a place in the caller's own list")
        .bad(ask(json!({"cursor": "?"})).invalid("cursor"))
        .bad(ask(json!({"cursor": "-1"})).invalid("cursor"))
        .bad(ask(json!({"status": "seen"})).invalid("status"))
        .bad(ask(json!({"type": "telegram"})).invalid("type"));
    vec![unread, list]
}

fn changing() -> Vec<Row> {
    let read = event("notification:read", NOTIFICATIONS)
        .success(
            ask(this("$notification"))
                .told("ann", "notification:read", json!({"notificationId": "$notification", "readAt": "*"}))
                .told("ann", "notification:read-confirmed", this("$notification"))
                .told("ann", "notifications:count", json!({"unread": "*"})),
        )
        .success(ask(this("$notification")).after("ann", "notification:read", this("$notification")))
        .refusal(
            ask(this("$notification")).after("ann", "notification:delete", this("$notification")).code("not_found"),
        )
        .foreign(ask(this("~notification")).code("not_found"))
        .bad(ask(this("x")).code("not_found"))
        .long_code("not_found");
    let delete = event("notification:delete", NOTIFICATIONS)
        .success(ask(this("$notification")).told("ann", "notification:deleted", this("$notification")).told(
            "ann",
            "notification:deleted-confirmed",
            this("$notification"),
        ))
        .success(ask(this("$notification")).after("ann", "notification:delete", this("$notification")))
        .no_refusal("everybody may delete his own, a repeat changes nothing")
        .foreign(ask(this("~notification")).code("not_found"))
        .bad(ask(this("")).code("not_found"))
        .long_code("not_found");
    let all = event("notifications:mark-all-read", NOTIFICATIONS)
        .success(
            ask(Value::Null)
                .after("backend", NOTIFY, wish())
                .holds(json!({"count": "*"}))
                .told("ann", "notification:all-read", json!({"count": "*"}))
                .told("ann", "notifications:all-read-confirmed", json!({"count": "*"})),
        )
        .success(ask(json!({})).by("gil").holds(json!({"count": 0})))
        .no_refusal("everybody may read his own")
        .no_foreign("it names no object")
        .no_bad("it has no fields");
    vec![read, delete, all]
}

fn choosing() -> Vec<Row> {
    let types = json!({"types": ["call", "system"]});
    let subscribe = event("notifications:subscribe", NOTIFICATIONS)
        .success(ask(types.clone()).by("gil").holds(json!({"subscribedTo": ["call", "system"], "types": "*"})))
        .no_refusal("everybody may choose for himself")
        .no_foreign("it is the caller's own socket")
        .bad(ask(json!({"types": ["telegram"]})).invalid("types[0]"))
        .bad(ask(json!({"types": "call"})).invalid("types"));
    let unsubscribe = event("notifications:unsubscribe", NOTIFICATIONS)
        .success(ask(types).by("gil").holds(json!({"unsubscribedFrom": ["call", "system"], "types": "*"})))
        .no_refusal("everybody may choose for himself")
        .no_foreign("it is the caller's own socket")
        .bad(ask(json!({"types": ["call", 7]})).invalid("types[1]"));
    vec![subscribe, unsubscribe]
}

fn routes() -> Vec<Row> {
    let list = route("GET /api/notifications", User)
        .success(at("").by("gil").holds(json!({"notifications": [], "total": 0, "unreadCount": 0, "totalPages": 0})))
        .success(
            at("")
                .query("?type=call&limit=1&status=unread")
                .after("backend", NOTIFY, wish())
                .holds(json!({"notifications": [{"type": "call", "title": "a call"}], "limit": 1, "page": 1})),
        )
        .no_refusal("everybody may ask for his own")
        .no_foreign("it names no object")
        .bad(at("").query("?cursor=x").invalid("cursor"))
        .bad(at("").query("?status=seen").invalid("status"))
        .bad(at("").query("?type=telegram").invalid("type"));
    let counts = ["GET /api/notifications/unread", "GET /api/notifications/unread-count"].map(|name| {
        route(name, User)
            .success(at("").by("gil").holds(json!({"count": 0, "unreadCount": 0})))
            .success(at("").after("backend", NOTIFY, wish()).holds(json!({"count": "*"})))
            .no_refusal("everybody may ask for his own")
            .no_foreign("it names no object")
            .no_bad("it takes nothing")
    });
    [vec![list], counts.to_vec()].concat()
}

fn one_routes() -> Vec<Row> {
    let gone = ("ann", "notification:delete", this("$notification"));
    let show = route("GET /api/notifications/{id}", User)
        .success(at("$notification").holds(json!({"id": "$notification", "title": "a title", "status": "unread"})))
        .refusal(at("$notification").after(gone.0, gone.1, gone.2.clone()).code("not_found"))
        .foreign(at("~notification").code("not_found"))
        .no_bad("it takes nothing but an id");
    let delete = route("DELETE /api/notifications/{id}", User)
        .success(at("$notification").holds(json!({"message": "*"})).told(
            "ann",
            "notification:deleted",
            this("$notification"),
        ))
        .no_refusal("everybody may delete his own, a repeat changes nothing")
        .foreign(at("~notification").code("not_found"))
        .no_bad("it takes nothing but an id");
    let read = ["POST /api/notifications/{id}/read", "PUT /api/notifications/{id}/read"].map(|name| {
        route(name, User)
            .success(
                at("$notification")
                    .holds(json!({"notification": {"id": "$notification", "status": "read", "readAt": "*"}}))
                    .told("ann", "notification:read", this("$notification")),
            )
            .refusal(at("$notification").after(gone.0, gone.1, gone.2.clone()).code("not_found"))
            .foreign(at("~notification").code("not_found"))
            .no_bad("it takes nothing but an id")
    });
    let archive = route("PUT /api/notifications/{id}/archive", User)
        .success(
            at("$notification").holds(json!({"notification": {"id": "$notification", "status": "archived"}})).told(
                "ann",
                "notification:archived",
                this("$notification"),
            ),
        )
        .refusal(at("$notification").after(gone.0, gone.1, gone.2.clone()).code("not_found"))
        .foreign(at("~notification").code("not_found"))
        .no_bad("it takes nothing but an id");
    [vec![show, delete, archive], read.to_vec()].concat()
}

fn all_routes() -> Vec<Row> {
    let all = ["POST /api/notifications/mark-all-read", "PUT /api/notifications/mark-all-read"].map(|name| {
        route(name, User)
            .success(
                at("")
                    .after("backend", NOTIFY, wish())
                    .holds(json!({"message": "*", "modifiedCount": "*", "count": "*"}))
                    .told("ann", "notification:all-read", json!({"count": "*"})),
            )
            .no_refusal("everybody may read his own")
            .no_foreign("it names no object")
            .no_bad("it takes nothing")
    });
    let clear =
        [("DELETE /api/notifications/clear-read", true), ("DELETE /api/notifications", false)].map(|(name, read)| {
            route(name, User)
                .success(
                    at("")
                        .after("ann", "notification:read", this("$notification"))
                        .holds(json!({"message": "*", "deletedCount": "*"}))
                        .told("ann", "notifications:cleared", json!({"count": "*", "readOnly": read})),
                )
                .success(at("").by("gil").holds(json!({"deletedCount": 0})))
                .no_refusal("everybody may delete his own")
                .no_foreign("it names no object")
                .no_bad("it takes nothing")
        });
    [all.to_vec(), clear.to_vec()].concat()
}
