//! The one refusal that every event and every route has: beyond the rate.

use serde_json::json;

use super::{
    row::{Access, Row},
    run::refused,
    scene::World,
};

/// More than any event may come within a window of this test: one, and ten times as many for small ones.
const ATTEMPTS: usize = 11;

/// Every event, in every namespace, by a user of its own.
pub async fn events(rows: &[Row]) {
    let mut world = World::start(&[("RATE_LIMIT_MAX", "1"), ("RATE_LIMIT_WINDOW", "3600000")]).await;
    let mut failures = Vec::new();
    for row in rows.iter().filter(|row| row.route().is_none()) {
        for namespace in row.namespaces {
            let user: &'static str = format!("user of {} {namespace}", row.name).leak();
            let mut last = Err("it was never refused".to_owned());
            for attempt in 0..ATTEMPTS {
                let answer = world.event((namespace, user), row.name, &json!({})).await.expect("an ack");
                if answer.code() == Some("rate_limited") {
                    let complete =
                        ["limit", "windowMs", "remaining", "retryAfterMs"].iter().all(|key| answer.body[*key].is_u64());
                    last = match (attempt, complete) {
                        (0, _) => Err("the first one was refused".to_owned()),
                        (_, false) => Err(format!("it does not say when to come again: {}", answer.body)),
                        _ => refused(&answer, &["rate_limited"]),
                    };
                    let told = json!({"event": row.name, "limit": answer.body["limit"]});
                    let heard = world.hears((namespace, user), "rate-limit-exceeded", &told).await;
                    last = last.and(heard);
                    break;
                }
            }
            failures
                .extend(last.err().map(|why| format!("- {} in {namespace}, refusal beyond the rate: {why}", row.name)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Every route, by a user of its own; of the backend all with one key.
pub async fn routes(rows: &[Row]) {
    let world = World::start(&[
        ("HOBNOB_RATE_LIMITS__REST_MAX", "1"),
        ("HOBNOB_RATE_LIMITS__REST_WINDOW_MS", "3600000"),
        ("HOBNOB_RATE_LIMITS__BACKEND_MAX", "1"),
        ("HOBNOB_RATE_LIMITS__BACKEND_WINDOW_MS", "3600000"),
    ])
    .await;
    let first = world.rest("backend", "POST", "/api/server/users/x/disconnect", &json!(null)).await;
    assert_eq!(first.code(), None, "{first:?}");
    let mut failures = Vec::new();
    for row in rows.iter().filter(|row| row.access != Access::Anyone) {
        let Some((method, path)) = row.route() else { continue };
        let user = format!("user of {}", row.name);
        let by = if row.access == Access::Backend { "backend" } else { &user };
        let path = path.replace("{id}", "x");
        world.rest(by, method, &path, &json!({})).await;
        let answer = world.rest(by, method, &path, &json!({})).await;
        let outcome = refused(&answer, &["rate_limited"]);
        failures.extend(outcome.err().map(|why| format!("- {}, refusal beyond the rate: {why}", row.name)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
