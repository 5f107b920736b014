//! The connection that messages come in by. It is made again for ever, and tried out, since an idle one that is cut says nothing.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisResult, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    redis::{BackOff, COMMAND_TIMEOUT, Part, Redis},
    target::timed_out,
};

/// How often the connection is tried out.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// What is listened to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscriptions {
    pub(super) channels: Vec<String>,
    pub(super) patterns: Vec<String>,
}

impl Subscriptions {
    /// Listens, once more where that is the case already.
    async fn subscribe(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        if !self.patterns.is_empty() {
            connection.psubscribe(&self.patterns).await?;
        }
        if !self.channels.is_empty() {
            connection.subscribe(&self.channels).await?;
        }
        Ok(())
    }
}

/// Hands channel and message of everything that comes to `deliver`, until `stop`. What is listened to may become more.
///
/// That happens on the task that reads from Redis: while it takes its time, nothing more is read, so that nothing piles up here. Redis
/// cuts off who reads too slowly; what is missed then is missed, as everything that is sent while there is no connection.
pub(super) async fn run(
    redis: &Redis,
    mut wanted: watch::Receiver<Subscriptions>,
    deliver: impl Fn(&str, &[u8]) + Send + Sync + 'static,
    stop: CancellationToken,
) {
    let deliver = Arc::new(deliver);
    let keep = async {
        let mut back_off = BackOff::default();
        loop {
            let lost = Arc::new(Notify::new());
            let cause = match open(redis, &mut wanted, Arc::clone(&deliver), Arc::clone(&lost)).await {
                Ok(connection) => {
                    back_off = BackOff::default();
                    redis.up(Part::Subscriptions);
                    keep_up(connection, &mut wanted, &lost).await
                }
                Err(error) => error.to_string(),
            };
            redis.down(Part::Subscriptions, &cause);
            back_off.pause().await;
        }
    };
    stop.run_until_cancelled(keep).await;
}

async fn open(
    redis: &Redis,
    wanted: &mut watch::Receiver<Subscriptions>,
    deliver: Arc<impl Fn(&str, &[u8]) + Send + Sync + 'static>,
    lost: Arc<Notify>,
) -> RedisResult<MultiplexedConnection> {
    let push = move |info: PushInfo| {
        if info.kind == PushKind::Disconnection {
            lost.notify_one();
        } else if let Some((channel, message)) = message(&info) {
            // A panic here would end the connection, and whoever caused it would do so again.
            if catch_unwind(AssertUnwindSafe(|| deliver(channel, message))).is_err() {
                tracing::error!("handling a message of another node failed by a mistake of the program");
            }
        }
        Ok::<_, redis::aio::SendError>(())
    };
    let config = AsyncConnectionConfig::new().set_push_sender(push).set_response_timeout(Some(COMMAND_TIMEOUT));
    let mut connection = redis.connect(config).await?;
    let subscriptions = wanted.borrow_and_update().clone();
    subscriptions.subscribe(&mut connection).await?;
    Ok(connection)
}

/// Channel and message, if that is what came.
fn message(info: &PushInfo) -> Option<(&str, &[u8])> {
    let ((PushKind::Message, [channel, message]) | (PushKind::PMessage, [_, channel, message])) =
        (&info.kind, &*info.data)
    else {
        return None;
    };
    match (channel, message) {
        (Value::BulkString(channel), Value::BulkString(message)) => Some((std::str::from_utf8(channel).ok()?, message)),
        _ => None,
    }
}

/// Waits until the connection is lost; gives the cause.
async fn keep_up(
    mut connection: MultiplexedConnection,
    wanted: &mut watch::Receiver<Subscriptions>,
    lost: &Notify,
) -> String {
    loop {
        let probe = async {
            tokio::time::sleep(PROBE_EVERY).await;
            let ping = redis::cmd("PING");
            let answer = timeout(COMMAND_TIMEOUT, ping.query_async(&mut connection)).await;
            answer.unwrap_or_else(|_| Err(timed_out("no answer in time")))
        };
        let probed: RedisResult<()> = tokio::select! {
            () = lost.notified() => return "the connection for subscriptions was lost".to_owned(),
            Ok(()) = wanted.changed() => {
                let subscriptions = wanted.borrow_and_update().clone();
                subscriptions.subscribe(&mut connection).await
            }
            probed = probe => probed,
        };
        if let Err(error) = probed {
            return error.to_string();
        }
    }
}
