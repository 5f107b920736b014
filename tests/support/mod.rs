//! What the tests share that run the real binary: a sandbox, a running server, a Socket.IO client, HTTP by hand.

pub mod client;
pub mod command;
pub mod http;
pub mod packets;
pub mod process;
pub mod raw;
pub mod token;

use std::time::Duration;

/// How long anything may take before a test gives up on it. Generous: it is no measure of speed.
const DEADLINE: Duration = Duration::from_secs(30);

/// What `future` gives, which must come before the deadline.
#[track_caller]
pub fn within<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        let outcome = tokio::time::timeout(DEADLINE, future).await;
        outcome.unwrap_or_else(|_| panic!("{place}: waited in vain for {what}"))
    }
}
