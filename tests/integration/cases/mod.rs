//! Every event and every route with its four cases: success, refusal, somebody else's object, bad input.
//!
//! A file per feature has the tables; `row.rs` says what a row is. Some cases are the same for all rows and stand in none of them: that
//! credentials are asked for and the rate is limited (refusal), that fields of foreign types, missing ones and endless ones are
//! refused by name (bad input, made from the generated documents), that an absent object and somebody else's are answered to the
//! letter alike (P32), and that somebody who shares nothing with anybody hears of nothing.

mod auth;
mod backend;
mod conversations;
mod documents;
mod heartbeat;
mod limits;
mod locks;
mod marks;
mod messages;
mod missed;
mod notifications;
mod operators;
mod queue;
mod receipts;
mod row;
mod run;
mod scene;
mod statuses;
mod told;
mod typing;
mod wrong;

use std::collections::BTreeSet;

use documents::Documents;
use row::Row;

fn all() -> Vec<Row> {
    [
        auth::rows(),
        backend::rows(),
        conversations::rows(),
        heartbeat::rows(),
        locks::rows(),
        marks::rows(),
        messages::rows(),
        missed::rows(),
        notifications::rows(),
        operators::rows(),
        queue::rows(),
        receipts::rows(),
        statuses::rows(),
        typing::rows(),
    ]
    .concat()
}

#[test]
fn every_event_and_route_has_its_four_cases() {
    let documents = Documents::read();
    let events = documents.events("receive").into_iter();
    let events =
        events.flat_map(|(event, namespaces)| namespaces.into_iter().map(move |name| format!("{event} in {name}")));
    let documented: BTreeSet<_> = events.chain(documents.route_names()).collect();
    let mut named = BTreeSet::new();
    for row in all() {
        for (name, cases) in
            [("success", &row.success), ("refusal", &row.refusal), ("foreign", &row.foreign), ("bad", &row.bad)]
        {
            assert!(cases.is_answered(), "{} has no case {name}, and no reason for it", row.name);
        }
        assert!(!row.success.tried().is_empty(), "{} never succeeds", row.name);
        for namespace in row.namespaces {
            let name = if row.route().is_some() { row.name.to_owned() } else { format!("{} in {namespace}", row.name) };
            assert!(named.insert(name), "{} has two rows", row.name);
        }
    }
    let without_row: Vec<_> = documented.difference(&named).collect();
    let of_nothing: Vec<_> = named.difference(&documented).collect();
    assert!(
        without_row.is_empty() && of_nothing.is_empty(),
        "without a row: {without_row:?}; rows of nothing: {of_nothing:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_answer_as_their_rows_say() {
    run::run(&conversations::rows(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_answer_as_their_rows_say() {
    run::run(&messages::rows(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reactions_pins_and_copies_answer_as_their_rows_say() {
    run::run(&marks::rows(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_and_locks_answer_as_their_rows_say() {
    run::run(&[receipts::rows(), locks::rows()].concat(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_messages_and_the_queue_answer_as_their_rows_say() {
    run::run(&[missed::rows(), queue::rows()].concat(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_answer_as_their_rows_say() {
    run::run(&notifications::rows(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_and_statuses_answer_as_their_rows_say() {
    run::run(&[typing::rows(), statuses::rows()].concat(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_and_tokens_answer_as_their_rows_say() {
    run::run(&[heartbeat::rows(), auth::rows()].concat(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_is_answered_as_its_rows_say() {
    run::run(&backend::rows(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_are_answered_as_their_rows_say() {
    run::run(&operators::rows(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_refused_beyond_the_rate() {
    limits::events(&all()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_refused_beyond_the_rate() {
    limits::routes(&all()).await;
}
