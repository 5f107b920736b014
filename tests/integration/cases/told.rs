//! Every event that the server sends is waited for by a test; those that follow from no request are here or where the list says.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::json;

use super::{
    documents::Documents,
    scene::{OUTSIDER, Scene, World, fits},
};

/// Where the others are waited for, below `tests/integration/`.
const ELSEWHERE: &[(&str, &str)] = &[
    ("auth:expired", "tokens.rs"),
    ("auth:expiring", "tokens.rs"),
    ("queue:truncated", "cases/told.rs"),
    ("queued-messages", "cases/told.rs"),
    ("rate-limit-exceeded", "cases/limits.rs"),
    ("request-failed", "cases/run.rs"),
    ("server:restarting", "shutdown.rs"),
    ("session:ready", "cases/told.rs"),
    ("user-offline", "cases/told.rs"),
    ("user-online", "cases/told.rs"),
];

#[test]
fn every_event_of_the_server_is_told_in_a_case_or_waited_for_elsewhere() {
    let documents = Documents::read();
    let sent = documents.events("send");
    let twins = sent.keys().flat_map(|event| documents.other_names("send", event));
    let sent: BTreeSet<_> = sent.keys().cloned().chain(twins).collect();
    let rows = super::all();
    let cases = rows.iter().flat_map(|row| row.success.tried().iter().chain(row.refusal.tried()));
    let told = cases.flat_map(|case| &case.told).map(|told| told.event);
    let answers = rows.iter().filter_map(|row| row.answer);
    let mut told: BTreeSet<_> = told.chain(answers).map(str::to_owned).collect();
    for (event, file) in ELSEWHERE {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration").join(file);
        let text = fs::read_to_string(&path).expect("the file");
        assert!(text.contains(&format!("\"{event}\"")), "{file} does not wait for {event}");
        assert!(told.insert((*event).to_owned()), "{event} is told in a case");
    }
    let untold: Vec<_> = sent.difference(&told).collect();
    assert!(untold.is_empty(), "no test waits for {untold:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn coming_and_going_is_told_to_those_who_share_a_conversation() {
    let mut world = World::start(&[("HOBNOB_PRESENCE__OFFLINE_GRACE_MS", "0")]).await;
    let mut scene = Scene::new(false);
    scene.text(&mut world, "$group").await.expect("a group");
    for namespace in ["/", "/messages"] {
        world.client(namespace, "ann").await;
        world.client("/", "ben").await;
        world.hears((namespace, "ann"), "user-online", &json!({"userId": "ben"})).await.expect("told");
        world.leave(("/", "ben"));
        let gone = json!({"userId": "ben", "status": "offline", "lastSeen": "*"});
        world.hears((namespace, "ann"), "user-offline", &gone).await.expect("told");
    }
    assert_only_greeted(&mut world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_waited_is_told_to_its_user_alone() {
    let mut world = World::start(&[("HOBNOB_QUEUE__MAX_PER_USER", "2")]).await;
    let mut scene = Scene::new(false);
    let group = scene.text(&mut world, "$group").await.expect("a group");
    for n in 0..5 {
        let text = json!({"conversationId": group, "content": format!("text {n}")});
        let sent = world.event(("/", "ann"), "message:send", &text).await.expect("an ack");
        assert_eq!(sent.code(), None, "{sent:?}");
    }
    let told = [
        ("session:ready", json!({"userId": "ben", "conversations": {group.as_str(): "*"}})),
        ("queue:truncated", json!({"dropped": 3})),
        ("queued-messages", json!({"count": 2, "messages": [{"content": "text 3"}, {"content": "text 4"}]})),
    ];
    for (event, payload) in told {
        world.hears(("/", "ben"), event, &payload).await.expect("told");
    }
    assert_only_greeted(&mut world).await;
}

/// The outsider has heard what every socket hears, and no more.
async fn assert_only_greeted(world: &mut World) {
    let heard = world.overheard().await;
    let greetings = json!(["session:ready", "notifications:count"]);
    fits(&greetings, &json!(heard)).unwrap_or_else(|why| panic!("{OUTSIDER} has heard {heard:?}: {why}"));
}
