//! The log of the cluster as a stream in Redis.
//!
//! Two keys: the stream `<prefix>:log` with one field per entry, and the hash `<prefix>:log:meta` with the epoch, the place
//! where the log was made to begin and how many entries came in so far. Each is worth nothing without the other: a log of
//! which one is missing is lost. What has to be checked and done in one step is a script of a few lines.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, RedisError, aio::MultiplexedConnection};
use tokio::{runtime::Handle, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use super::redis::{COMMAND_TIMEOUT, Redis, RedisFailed};
use crate::storage::replicated::{AppendError, Bounds, Connection, Epoch, LogAway, Place, SharedLog};

/// How long a reader waits for a next entry.
const BLOCK: Duration = Duration::from_secs(2);
/// A connection that is made anew within this time need not be told.
const GRACE: Duration = Duration::from_secs(1);
/// Most entries that are fetched at a time, whatever their size.
const MAX_PAGE: usize = 1024;
/// What an entry is taken to have before the first was seen, in bytes.
const ASSUMED_BYTES: usize = 16 * 1024;

/// KEYS: stream, meta. ARGV: epoch, begin.
const CREATE: &str = r"
if redis.call('EXISTS', KEYS[1]) == 1 and redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('XGROUP', 'CREATE', KEYS[1], 'made', '0', 'MKSTREAM')
redis.call('XGROUP', 'DESTROY', KEYS[1], 'made')
if ARGV[2] ~= '0-0' then redis.call('XSETID', KEYS[1], ARGV[2]) end
redis.call('HSET', KEYS[2], 'epoch', ARGV[1], 'begin', ARGV[2], 'added', 0)
return 1";

/// ARGV: epoch, most entries, entry.
const APPEND: &str = r"
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] or redis.call('EXISTS', KEYS[1]) == 0 then
  return redis.error_reply('NOLOG there is no log of this epoch')
end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'e', ARGV[3])
redis.call('HINCRBY', KEYS[2], 'added', 1)
return id";

/// ARGV: epoch, the place of the last entry, the entry's place, entry.
const RESTORE: &str = r"
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] or redis.call('EXISTS', KEYS[1]) == 0 then
  return redis.error_reply('NOLOG there is no log of this epoch')
end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' and info[i + 1] ~= ARGV[2] then return 0 end
end
redis.call('XADD', KEYS[1], ARGV[3], 'e', ARGV[4])
redis.call('HINCRBY', KEYS[2], 'added', 1)
return 1";

/// Gives: epoch, begin, entries so far, entries now, the first one's place, the last one's.
const BOUNDS: &str = r"
local meta = redis.call('HMGET', KEYS[2], 'epoch', 'begin', 'added')
if not meta[1] or redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
local last
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then last = info[i + 1] end
end
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
return {meta[1], meta[2], meta[3] or '0', tostring(redis.call('XLEN', KEYS[1])), first[1] and first[1][1] or last, last}";

/// The log of the cluster. Cloning shares it.
#[derive(Clone)]
pub struct RedisLog {
    shared: Arc<Shared>,
}

struct Shared {
    redis: Arc<Redis>,
    stream: String,
    meta: String,
    most_entries: u64,
    connection: watch::Sender<Connection>,
    /// The connection that blocks, while nobody uses it.
    reader: Mutex<Option<MultiplexedConnection>>,
    /// Bytes of an entry, on average.
    entry_bytes: AtomicUsize,
    runtime: Handle,
}

impl RedisLog {
    /// To be called within the runtime that the connections live in. The futures of the log may be polled anywhere.
    pub(super) fn new(redis: Arc<Redis>, prefix: &str, most_entries: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                redis,
                stream: format!("{prefix}:log"),
                meta: format!("{prefix}:log:meta"),
                most_entries,
                connection: watch::Sender::new(Connection::Away),
                reader: Mutex::default(),
                entry_bytes: AtomicUsize::new(ASSUMED_BYTES),
                runtime: Handle::current(),
            }),
        }
    }

    /// Tells whether the log can be reached, until `stop`.
    pub(super) async fn run(&self, stop: CancellationToken) {
        let follow = async {
            let mut up = self.shared.redis.answers();
            loop {
                if up.wait_for(|up| *up).await.is_err() {
                    return;
                }
                self.tell(Connection::Up);
                if up.wait_for(|up| !*up).await.is_err() {
                    return;
                }
                if timeout(GRACE, up.wait_for(|up| *up)).await.is_err() {
                    self.tell(Connection::Away);
                }
            }
        };
        stop.run_until_cancelled(follow).await;
        self.tell(Connection::Away);
        *self.shared.reader() = None;
    }

    fn tell(&self, connection: Connection) {
        self.shared.connection.send_if_modified(|told| {
            let changed = *told != connection;
            *told = connection;
            changed
        });
    }
}

impl Shared {
    fn script(&self, script: &str) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(2).arg(&self.stream).arg(&self.meta);
        command
    }

    async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, LogAway> {
        self.redis.query(command).await.map_err(|error| LogAway(error.to_string()))
    }

    async fn bounds(&self) -> Result<Option<Bounds>, LogAway> {
        // By one connection, so that both are of the same server.
        let mut commands = redis::pipe();
        commands.add_command(self.script(BOUNDS)).cmd("INFO").arg("server");
        let answer: Result<(Vec<String>, String), _> = self.redis.query_all(&commands).await;
        let (found, info) = answer.map_err(|error| LogAway(error.to_string()))?;
        let run = info.lines().find(|line| line.starts_with("run_id:")).unwrap_or_default();
        let server = xxhash_rust::xxh3::xxh3_64(run.as_bytes());
        let [epoch, begin, added, length, first, last] = &*found else { return Ok(None) };
        let parsed = (epoch.parse(), place(begin), place(first), place(last));
        let (Ok(epoch), Some(begin), Some(first), Some(end)) = parsed else {
            return Err(LogAway(format!("the keys {} and {} hold something else", self.stream, self.meta)));
        };
        // As many as ever came: nothing was trimmed.
        let kept_after = if added == length { begin } else { first };
        Ok(Some(Bounds { epoch: Epoch(epoch), kept_after, end, server }))
    }

    async fn append(&self, epoch: Epoch, entry: Bytes) -> Result<Place, AppendError> {
        let mut command = self.script(APPEND);
        command.arg(epoch.0).arg(self.most_entries).arg(&*entry);
        let answer: Result<String, _> = self.redis.query(&command).await;
        let id = answer.map_err(|error| match error {
            RedisFailed::Lost(_) => AppendError::Unknown(error.to_string()),
            RedisFailed::Away | RedisFailed::Refused(_) => AppendError::Refused(error.to_string()),
        })?;
        place(&id).ok_or_else(|| AppendError::Unknown(format!("{id:?} is no place")))
    }

    async fn read(&self, epoch: Epoch, after: Place, max_bytes: usize) -> Result<Vec<(Place, Bytes)>, LogAway> {
        if !*self.redis.answers().borrow() {
            return Err(LogAway(RedisFailed::Away.to_string()));
        }
        // A reader that is given up takes the connection with it, and what Redis would still answer.
        let taken = self.reader().take();
        let mut connection = match taken {
            Some(connection) => connection,
            None => self.redis.connect(AsyncConnectionConfig::new().set_response_timeout(None)).await.map_err(away)?,
        };
        let page = max_bytes.checked_div(self.entry_bytes.load(Ordering::Relaxed)).unwrap_or(1).clamp(1, MAX_PAGE);
        let mut commands = redis::pipe();
        commands.cmd("XREAD").arg("COUNT").arg(page).arg("BLOCK").arg(u64::try_from(BLOCK.as_millis()).unwrap_or(1));
        commands.arg("STREAMS").arg(&self.stream).arg(after.to_string());
        // Behind the entries: whoever made another log has taken these away before.
        commands.cmd("HGET").arg(&self.meta).arg("epoch").cmd("EXISTS").arg(&self.stream);
        let answer = timeout(BLOCK + COMMAND_TIMEOUT, commands.query_async(&mut connection)).await;
        let answer: (Option<Read>, Option<u64>, bool) =
            answer.map_err(|_| LogAway("no answer in time".to_owned()))?.map_err(away)?;
        *self.reader() = Some(connection);
        let (entries, found, exists) = answer;
        if found != Some(epoch.0) || !exists {
            return Err(LogAway("there is no log of this epoch".to_owned()));
        }
        let entries = entries.map(|Read(entries)| entries).unwrap_or_default();
        if let Some(average) = entries.iter().map(|(_, entry)| entry.len()).sum::<usize>().checked_div(entries.len()) {
            self.entry_bytes.store(average.max(64), Ordering::Relaxed);
        }
        Ok(entries)
    }

    async fn entry(&self, epoch: Epoch, place: Place) -> Result<Option<Bytes>, LogAway> {
        let mut commands = redis::pipe();
        commands.cmd("XRANGE").arg(&self.stream).arg(place.to_string()).arg(place.to_string());
        commands.cmd("HGET").arg(&self.meta).arg("epoch");
        let answer: Result<(Entries, Option<u64>), _> = self.redis.query_all(&commands).await;
        let (Entries(entries), found) = answer.map_err(|error| LogAway(error.to_string()))?;
        if found != Some(epoch.0) {
            return Err(LogAway("there is no log of this epoch".to_owned()));
        }
        Ok(entries.into_iter().next().map(|(_, entry)| entry))
    }

    fn reader(&self) -> std::sync::MutexGuard<'_, Option<MultiplexedConnection>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls a call within the runtime, wherever that is done: time-outs belong to one.
    fn within<T: Send + 'static>(
        self: Arc<Self>,
        call: impl Future<Output = T> + Send + 'static,
    ) -> BoxFuture<'static, T> {
        let mut call = Box::pin(call);
        poll_fn(move |cx| {
            let _within = self.runtime.enter();
            call.as_mut().poll(cx)
        })
        .boxed()
    }
}

impl SharedLog for RedisLog {
    fn connection(&self) -> watch::Receiver<Connection> {
        self.shared.connection.subscribe()
    }

    fn bounds(&self) -> BoxFuture<'static, Result<Option<Bounds>, LogAway>> {
        let shared = Arc::clone(&self.shared);
        Arc::clone(&self.shared).within(async move { shared.bounds().await })
    }

    fn create(&self, epoch: Epoch, begin: Place) -> BoxFuture<'static, Result<bool, LogAway>> {
        let shared = Arc::clone(&self.shared);
        Arc::clone(&self.shared).within(async move {
            let mut command = shared.script(CREATE);
            shared.query(command.arg(epoch.0).arg(begin.to_string())).await
        })
    }

    fn append(&self, epoch: Epoch, entry: Bytes) -> BoxFuture<'static, Result<Place, AppendError>> {
        let shared = Arc::clone(&self.shared);
        let mut call = Arc::clone(&self.shared).within(async move { shared.append(epoch, entry).await });
        // The first poll puts the request into the line of the connection; without regard to the task's budget, or a later call
        // could come first.
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut tokio::task::unconstrained(&mut call)).poll(&mut cx) {
            Poll::Ready(answer) => ready(answer).boxed(),
            Poll::Pending => call,
        }
    }

    fn read(
        &self,
        epoch: Epoch,
        after: Place,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<(Place, Bytes)>, LogAway>> {
        let shared = Arc::clone(&self.shared);
        Arc::clone(&self.shared).within(async move { shared.read(epoch, after, max_bytes).await })
    }

    fn entry(&self, epoch: Epoch, place: Place) -> BoxFuture<'static, Result<Option<Bytes>, LogAway>> {
        let shared = Arc::clone(&self.shared);
        Arc::clone(&self.shared).within(async move { shared.entry(epoch, place).await })
    }

    fn restore(
        &self,
        epoch: Epoch,
        previous: Place,
        place: Place,
        entry: Bytes,
    ) -> BoxFuture<'static, Result<bool, LogAway>> {
        let shared = Arc::clone(&self.shared);
        Arc::clone(&self.shared).within(async move {
            let mut command = shared.script(RESTORE);
            command.arg(epoch.0).arg(previous.to_string()).arg(place.to_string()).arg(&*entry);
            shared.query(&command).await
        })
    }
}

impl std::fmt::Debug for RedisLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisLog").field("stream", &self.shared.stream).finish_non_exhaustive()
    }
}

/// Names and values of an entry; a log has one.
type Fields = Vec<(redis::Value, Vec<u8>)>;

/// Entries of a stream as `XRANGE` answers them.
struct Entries(Vec<(Place, Bytes)>);

/// The same of the one stream that `XREAD` was asked for.
struct Read(Vec<(Place, Bytes)>);

impl FromRedisValue for Entries {
    fn from_redis_value(value: redis::Value) -> Result<Self, redis::ParsingError> {
        let entries: Vec<(String, Fields)> = redis::from_redis_value(value)?;
        let entries = entries.into_iter().map(|(id, fields)| {
            let entry = fields.into_iter().next().map(|(_, entry)| Bytes::from(entry))?;
            Some((place(&id)?, entry))
        });
        entries.collect::<Option<_>>().map(Self).ok_or_else(|| "expected entries of the log".into())
    }
}

impl FromRedisValue for Read {
    fn from_redis_value(value: redis::Value) -> Result<Self, redis::ParsingError> {
        let streams: Vec<(redis::Value, Entries)> = redis::from_redis_value(value)?;
        Ok(Self(streams.into_iter().flat_map(|(_, Entries(entries))| entries).collect()))
    }
}

fn place(id: &str) -> Option<Place> {
    let (major, minor) = id.split_once('-')?;
    Some(Place { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn away(error: RedisError) -> LogAway {
    LogAway(error.to_string())
}
