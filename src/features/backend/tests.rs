//! The routes for an app's backend, over the router as it is served.

use std::time::Duration;

use axum::{Router, body::Body};
use hyper::{Method, Request};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::features::{
    Config, Features,
    auth::{self, Credentials},
    notifications::{Filter, Start},
    testing::{SECRET, features, features_with, id},
};

/// Features and a key for them.
struct Api {
    features: Features,
    router: Router,
    key: String,
}

/// An answer: status, body, and whether it was given before.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    body: Value,
    replayed: bool,
}

impl Answer {
    fn refusal(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }
}

impl Api {
    async fn new() -> Self {
        Self::with(features()).await
    }

    async fn with(features: Features) -> Self {
        let key = features.auth.api_keys().create("test").await.expect("a key");
        Self { router: features.rest(), features, key }
    }

    async fn request(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(Method::POST).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let status = response.status().as_u16();
        let replayed = response.headers().contains_key(auth::REPLAYED);
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("JSON") };
        Answer { status, body, replayed }
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        let headers = [("x-api-key", self.key.as_str()), ("content-type", "application/json")];
        self.request(&format!("/api/server/{path}"), &headers, &body.to_string()).await
    }

    async fn post_once(&self, key: &str, path: &str, body: &Value) -> Answer {
        let headers =
            [("x-api-key", self.key.as_str()), ("content-type", "application/json"), ("idempotency-key", key)];
        self.request(&format!("/api/server/{path}"), &headers, &body.to_string()).await
    }

    async fn sign_in(&self, token: &str) -> Result<(), String> {
        let authorization = format!("Bearer {token}");
        let credentials = Credentials { authorization: Some(&authorization), ..Credentials::default() };
        self.features.auth.sign_in(&credentials).await.map(|_| ()).map_err(|refusal| refusal.code.to_string())
    }
}

const PATHS: [&str; 11] = [
    "users",
    "disconnect",
    "users/alice/disconnect",
    "token",
    "users/alice/token",
    "users/alice/block",
    "users/alice/unblock",
    "tokens/revoke",
    "messages",
    "notifications",
    "emit",
];

#[tokio::test]
async fn only_an_api_key_opens_these_routes() {
    let api = Api::new().await;
    let token = api.post("token", json!({"userId": "alice"})).await.body["token"].as_str().expect("one").to_owned();
    let bearer = format!("Bearer {token}");
    let secret = String::from_utf8_lossy(SECRET).into_owned();
    let listed = api.features.documented_rest();
    let declared = listed.endpoints().iter().filter(|endpoint| endpoint.path.starts_with("/api/server/"));
    let posted = declared.filter(|endpoint| endpoint.method == Method::POST);
    assert_eq!(posted.count(), PATHS.len(), "a route that is not tried here");
    for path in PATHS {
        let path = format!("/api/server/{path}");
        for headers in [
            vec![],
            vec![("authorization", bearer.as_str())],
            vec![("x-api-key", token.as_str())],
            vec![("x-api-key", secret.as_str())],
            vec![("x-api-key", bearer.as_str())],
            vec![("x-api-key", "hk_0000000000000000_AAAA")],
            vec![("authorization", api.key.as_str())],
        ] {
            // The body is not read for strangers: it would be refused otherwise.
            let answer = api.request(&path, &headers, "rubbish").await;
            assert_eq!(answer.refusal(), (401, "unauthorized"), "{path} {headers:?}");
        }
    }
    let as_token = api.sign_in(&api.key).await;
    assert_eq!(as_token, Err("token_malformed".to_owned()), "and it is no token of a user");
}

#[tokio::test]
async fn users_are_made_and_changed() {
    let auth = auth::Config { auto_provision: false, ..auth::Config::default() };
    let api = Api::with(features_with(Config { auth, ..Config::default() })).await;
    assert_eq!(api.post("token", json!({"userId": "alice"})).await.refusal(), (404, "not_found"));
    let made = api.post("users", json!({"id": "alice", "username": "Alice"})).await;
    assert_eq!((made.status, &made.body["username"], &made.body["_id"]), (201, &json!("Alice"), &json!("alice")));
    let changed = api.post("users", json!({"id": "alice", "avatar": "a.png"})).await;
    assert_eq!((changed.status, &changed.body["avatar"]), (200, &json!("a.png")));
    assert_eq!(changed.body["username"], "Alice");
    for (body, field) in
        [(json!({}), "id"), (json!({"id": ""}), "id"), (json!({"id": "a\nb"}), "id"), (json!([]), "payload")]
    {
        let refused = api.post("users", body).await;
        assert_eq!((refused.refusal(), &refused.body["field"]), ((400, "invalid_payload"), &json!(field)));
    }
    let answer = api.post("token", json!({"userId": "alice"})).await;
    api.sign_in(answer.body["token"].as_str().expect("a token")).await.expect("known now");
}

#[tokio::test]
async fn a_token_that_was_asked_for_is_good_until_it_is_taken_back() {
    let api = Api::new().await;
    let answer = api.post("users/alice/token", json!({"expiresIn": 60, "roles": ["bot"]})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = answer.body["token"].as_str().expect("a token");
    api.sign_in(token).await.expect("good");
    let revoked = api.post("tokens/revoke", json!({"jti": answer.body["tokenId"]})).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert_eq!(api.sign_in(token).await, Err("token_invalid".to_owned()));
    let other = api.post("token", json!({"userId": "bob"})).await;
    api.post("tokens/revoke", json!({"userId": "bob"})).await;
    assert_eq!(api.sign_in(other.body["token"].as_str().expect("one")).await, Err("token_invalid".to_owned()));
    for body in [json!({}), json!({"userId": "a", "jti": "b"}), json!({"jti": ""}), json!({"jti": 7})] {
        assert_eq!(api.post("tokens/revoke", body).await.refusal(), (400, "invalid_payload"));
    }
    for body in [
        json!({"expiresIn": 0}),
        json!({"expiresIn": 315_360_001}),
        json!({"expiresIn": "1h"}),
        json!({"roles": "bot"}),
        json!({"roles": [""]}),
    ] {
        assert_eq!(api.post("users/alice/token", body).await.refusal(), (400, "invalid_payload"));
    }
}

#[tokio::test]
async fn a_blocked_user_gets_no_token_sends_nothing_and_may_not_come_in() {
    let api = Api::new().await;
    let token = api.post("token", json!({"userId": "alice"})).await.body["token"].as_str().expect("one").to_owned();
    let blocked = api.post("users/alice/block", json!({})).await;
    assert_eq!((blocked.status, blocked.body), (200, json!({"userId": "alice", "blocked": true})));
    assert_eq!(api.sign_in(&token).await, Err("user_blocked".to_owned()));
    assert_eq!(api.post("token", json!({"userId": "alice"})).await.refusal(), (403, "user_blocked"));
    let message = json!({"from": "alice", "to": "bob", "content": "hi"});
    assert_eq!(api.post("messages", message).await.refusal(), (403, "user_blocked"));
    // Without a body at all, as `curl -X POST` does it.
    let bare = api.request("/api/server/users/alice/unblock", &[("x-api-key", &api.key)], "").await;
    assert_eq!((bare.status, bare.body), (200, json!({"userId": "alice", "blocked": false})));
    api.sign_in(&token).await.expect("in again");
    assert_eq!(api.post("users/%00/block", json!({})).await.refusal(), (400, "invalid_payload"));
}

#[tokio::test]
async fn a_message_is_sent_as_its_user_and_under_the_rules_of_users() {
    let api = Api::new().await;
    let sent = api.post("messages", json!({"from": "alice", "to": "bob", "content": "hi", "data": {"n": 1}})).await;
    assert_eq!((sent.status, &sent.body["message"]["senderId"]), (201, &json!("alice")), "{sent:?}");
    assert_eq!(sent.body["message"]["data"], json!({"n": 1}));
    let conversation = &sent.body["message"]["conversationId"];
    let foreign = json!({"from": "eve", "conversationId": conversation, "content": "hi"});
    assert_eq!(api.post("messages", foreign).await.refusal(), (404, "not_found"));
    for body in [
        json!({"to": "bob", "content": "hi"}),
        json!({"from": "alice", "to": "bob"}),
        json!({"from": "alice", "to": "bob", "content": 5}),
        json!({"from": "", "to": "bob", "content": "hi"}),
    ] {
        assert_eq!(api.post("messages", body).await.refusal(), (400, "invalid_payload"));
    }
}

#[tokio::test]
async fn a_repeat_with_the_same_key_is_answered_as_before_and_done_once() {
    let api = Api::new().await;
    let message = json!({"from": "alice", "to": "bob", "content": "hi"});
    let first = api.post_once("k1", "messages", &message).await;
    let again = api.post_once("k1", "messages", &message).await;
    assert_eq!((first.status, first.replayed, again.replayed), (201, false, true));
    assert_eq!((again.status, &again.body), (201, &first.body));
    let other = api.post_once("k1", "messages", &json!({"from": "alice", "to": "bob", "content": "ho"})).await;
    assert_eq!(other.refusal(), (409, "conflict"));
    assert_eq!(
        api.post_once("k1", "users", &json!({"id": "alice"})).await.refusal(),
        (409, "conflict"),
        "another path"
    );
    let conversation = api.features.direct("alice", "bob").await;
    let heads: Vec<_> = api.features.conversations.heads(&id("alice")).expect("readable").into_iter().collect();
    assert_eq!(heads, [(conversation, 1)]);
    for key in ["", "a b", "\u{e4}", &"x".repeat(256)] {
        assert_eq!(api.post_once(key, "messages", &message).await.refusal(), (400, "invalid_payload"), "{key}");
    }
}

#[tokio::test]
async fn a_refused_request_has_done_nothing_and_may_be_tried_again() {
    let api = Api::new().await;
    let message = json!({"from": "alice", "to": "bob", "content": "hi"});
    api.post("users/alice/block", json!({})).await;
    assert_eq!(api.post_once("k", "messages", &message).await.refusal(), (403, "user_blocked"));
    api.post("users/alice/unblock", json!({})).await;
    assert_eq!(api.post_once("k", "messages", &message).await.status, 201);
}

#[tokio::test]
async fn requests_with_the_same_key_at_the_same_time_run_once() {
    let api = Api::new().await;
    let message = json!({"from": "alice", "to": "bob", "content": "hi"});
    let requests = (0..8).map(|_| api.post_once("k", "messages", &message));
    let answers = futures_util::future::join_all(requests).await;
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
}

#[tokio::test]
async fn a_signed_token_is_not_kept_for_a_repeat() {
    let api = Api::new().await;
    let wish = json!({"userId": "alice"});
    let first = api.post_once("k", "token", &wish).await;
    let again = api.post_once("k", "token", &wish).await;
    assert_eq!((first.status, again.status, again.replayed), (200, 200, false));
    assert_ne!(first.body["tokenId"], again.body["tokenId"]);
    assert_eq!(api.post_once("k", "token", &json!({"userId": "bob"})).await.refusal(), (409, "conflict"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_a_day() {
    let api = Api::new().await;
    let user = json!({"id": "alice"});
    assert_eq!(api.post_once("k", "users", &user).await.status, 201);
    tokio::time::advance(Duration::from_hours(23)).await;
    api.features.auth.idempotency().sweep().await.expect("swept");
    assert_eq!(api.post_once("k", "users", &user).await.status, 201, "the first answer");
    tokio::time::advance(Duration::from_hours(2)).await;
    assert_eq!(api.post_once("k", "users", &user).await.status, 200, "the user exists by now");
    tokio::time::advance(Duration::from_hours(25)).await;
    api.features.auth.idempotency().sweep().await.expect("swept");
    assert_eq!(api.post_once("k", "users", &json!({"id": "bob"})).await.status, 201);
}

#[tokio::test]
async fn an_event_of_the_app_may_not_look_like_one_of_the_server() {
    let api = Api::new().await;
    let emit = |event: &str| json!({"users": ["alice"], "event": event, "args": [{"n": 1}, "x"]});
    let sent = api.post("emit", emit("order:shipped")).await;
    assert_eq!((sent.status, sent.body), (200, json!({"receivers": 0})));
    let own = crate::features::SERVER_EVENTS.iter().copied().flatten();
    let own = own.flat_map(|event| std::iter::once(event.name).chain(event.twins.iter().copied()));
    for event in own.chain(["disconnect", "connect", "request-failed", "server:restarting", ""]) {
        let refused = api.post("emit", emit(event)).await;
        assert_eq!((refused.refusal(), &refused.body["field"]), ((400, "invalid_payload"), &json!("event")), "{event}");
    }
}

#[tokio::test]
async fn an_event_has_receivers_a_namespace_and_a_size() {
    let api = Api::new().await;
    let with = |more: Value| {
        let mut body = json!({"users": ["alice"], "event": "x"});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    for (more, code) in [
        (json!({"users": []}), "invalid_payload"),
        (json!({"users": [""]}), "invalid_payload"),
        (json!({"rooms": [""]}), "invalid_payload"),
        (json!({"rooms": ["x".repeat(257)]}), "invalid_payload"),
        (json!({"rooms": vec!["x"; 1000]}), "too_long"),
        (json!({"namespace": "/nowhere"}), "invalid_payload"),
        (json!({"args": {}}), "invalid_payload"),
        (json!({"args": vec![0; 17]}), "too_long"),
        (json!({"args": ["x".repeat(60_000)]}), "too_long"),
        (json!({"event": "x".repeat(129)}), "invalid_payload"),
    ] {
        assert_eq!(api.post("emit", with(more.clone())).await.refusal(), (400, code), "{more:.80}");
    }
    for namespace in ["/", "/messages", "/notifications"] {
        let sent = api.post("emit", with(json!({"namespace": namespace, "rooms": ["user:bob"]}))).await;
        assert_eq!(sent.status, 200, "{sent:?}");
    }
}

#[tokio::test]
async fn disconnecting_somebody_who_is_not_there_is_no_mistake() {
    let api = Api::new().await;
    let nobody = json!({"userId": "alice", "disconnected": 0});
    assert_eq!(api.post("disconnect", json!({"userId": "alice"})).await.body, nobody);
    assert_eq!(api.post("users/alice/disconnect", json!({})).await.body, nobody);
    assert_eq!(api.post("disconnect", json!({})).await.refusal(), (400, "invalid_payload"));
}

/// The titles of a user's notifications, the newest first, once everything ordered is made.
async fn told(api: &Api, user: &str) -> Vec<String> {
    while api.features.notifications.do_jobs().await.expect("storable") > 0 {}
    let page = api.features.notifications.list(&id(user), Filter::default(), Start::Skip(0), 100).await;
    page.expect("readable").notifications.into_iter().map(|notification| notification.title).collect()
}

fn telling(to: Value, more: Value) -> Value {
    let mut body = json!({"type": "system", "title": "News"});
    for part in [to, more] {
        let Value::Object(part) = part else { panic!("an object") };
        body.as_object_mut().expect("an object").extend(part);
    }
    body
}

#[tokio::test]
async fn a_user_is_notified_with_every_field() {
    let api = Api::new().await;
    let fields = json!({
        "userId": "alice", "type": "contact_accepted", "title": "Bob", "message": "accepted", "data": {"n": [1, null]},
        "priority": "urgent", "actionUrl": "app://contacts/bob", "collapseKey": "bob", "expiresAt": "2999-01-01T00:00:00.000Z",
    });
    let made = api.post("notifications", fields.clone()).await;
    assert_eq!((made.status, &made.body["recipients"]), (201, &json!(1)), "{made:?}");
    let shown = &made.body["notification"];
    assert_eq!(shown["type"], "contact_accept");
    for field in ["title", "message", "data", "priority", "actionUrl", "collapseKey", "expiresAt"] {
        assert_eq!(shown[field], fields[field], "{field}");
    }
    assert_eq!(told(&api, "alice").await, ["Bob"]);
    let again = api.post("notifications", fields).await;
    assert_eq!((&again.body["notification"]["id"], &again.body["notification"]["count"]), (&shown["id"], &json!(2)));
}

#[tokio::test]
async fn many_users_and_the_members_of_a_conversation_are_notified() {
    let api = Api::new().await;
    let group = api.features.group("ann", &["bob"]).await;
    let users: Vec<_> = (1..1000).map(|n| format!("user-{n}")).chain(["user-1".to_owned()]).collect();
    let sent = api.post("notifications", telling(json!({"userIds": users}), json!({}))).await;
    assert_eq!((sent.status, &sent.body["recipients"], &sent.body["notification"]), (202, &json!(999), &Value::Null));
    for user in ["user-1", "user-500", "user-999"] {
        assert_eq!(told(&api, user).await, ["News"]);
    }
    for (to, title) in [("topic", "A"), ("conversationId", "B")] {
        let sent = api.post("notifications", telling(json!({to: group}), json!({"title": title}))).await;
        assert_eq!((sent.status, &sent.body["recipients"]), (202, &json!(2)), "{sent:?}");
    }
    assert_eq!(told(&api, "ann").await, ["B", "A"]);
    assert_eq!(told(&api, "bob").await, ["B", "A", "group"]);
    assert_eq!(told(&api, "user-0").await.len(), 0);
}

#[tokio::test]
async fn a_notification_to_nobody_or_of_nothing_is_refused() {
    let auth = auth::Config { auto_provision: false, ..auth::Config::default() };
    let api = Api::with(features_with(Config { auth, ..Config::default() })).await;
    api.post("users", json!({"id": "alice"})).await;
    let alice = json!({"userId": "alice"});
    for (to, code) in [
        (json!({}), "invalid_payload"),
        (json!({"userId": "alice", "userIds": ["alice"]}), "invalid_payload"),
        (json!({"userId": ""}), "invalid_payload"),
        (json!({"userIds": []}), "invalid_payload"),
        (json!({"userIds": "alice"}), "invalid_payload"),
        (json!({"userIds": vec!["alice"; 1001]}), "too_long"),
        (json!({"conversationId": "club"}), "invalid_payload"),
        (json!({"userId": "nobody"}), "not_found"),
        (json!({"userIds": ["alice", "nobody"]}), "not_found"),
        (json!({"conversationId": crate::ids::ConversationId::fresh()}), "not_found"),
    ] {
        let refused = api.post("notifications", telling(to.clone(), json!({}))).await;
        assert_eq!(refused.refusal().1, code, "{to:.80}");
    }
    for (more, code) in [
        (json!({"type": "gossip"}), "invalid_payload"),
        (json!({"title": ""}), "invalid_payload"),
        (json!({"title": "x".repeat(201)}), "too_long"),
        (json!({"message": "x".repeat(501)}), "too_long"),
        (json!({"data": "x".repeat(17_000)}), "too_long"),
        (json!({"priority": "huge"}), "invalid_payload"),
        (json!({"actionUrl": "javascript:alert(1)"}), "invalid_payload"),
        (json!({"expiresAt": "2001-01-01T00:00:00.000Z"}), "invalid_payload"),
    ] {
        let refused = api.post("notifications", telling(alice.clone(), more.clone())).await;
        assert_eq!(refused.refusal(), (400, code), "{more:.80}");
    }
    assert_eq!(told(&api, "alice").await.len(), 0);
}

#[tokio::test]
async fn a_repeated_notification_is_told_once() {
    let api = Api::new().await;
    let body = telling(json!({"userIds": ["alice", "bob"]}), json!({}));
    assert_eq!(api.post_once("k", "notifications", &body).await.status, 202);
    assert!(api.post_once("k", "notifications", &body).await.replayed);
    let other = telling(json!({"userIds": ["alice"]}), json!({}));
    assert_eq!(api.post_once("k", "notifications", &other).await.refusal(), (409, "conflict"));
    assert_eq!(told(&api, "alice").await, ["News"]);
}
