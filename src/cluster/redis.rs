//! The connections to Redis: made again for ever when they are lost, and what is said of them meanwhile.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand::RngExt as _;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult,
    aio::MultiplexedConnection,
};
use thiserror::Error;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Config, check,
    target::{CONNECT_TIMEOUT, Target, timed_out},
};
use crate::clock::Timestamp;

/// A command that takes longer has failed.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);
/// Commands that can be on their way at once; more wait for room, and then their order is no longer that of the calls.
const MAX_WAITING: usize = 4096;
/// How often the connection is tried out. With a write, since a Redis that is full or a replica answers a PING.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Pauses between two attempts: at first, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// All connections are there.
    Connected,
    /// Something is missing.
    Degraded {
        /// Since when.
        since: Timestamp,
        /// Why, in words.
        cause: Arc<str>,
    },
}

impl State {
    /// Whether all connections are there.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        matches!(self, Self::Connected)
    }
}

/// What has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Commands,
    Subscriptions,
}

/// This Redis may not be used. Says why and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Unfit(pub(super) Arc<str>);

/// Why a command failed.
#[derive(Clone, Debug, Error)]
pub enum RedisFailed {
    /// There is no connection.
    #[error("no connection to Redis")]
    Away,
    /// There was no answer in time, or the connection broke: whether the command was carried out is not known.
    #[error("the answer of Redis was lost: {0}")]
    Lost(RedisError),
    /// Redis refused it.
    #[error("Redis refused: {0}")]
    Refused(RedisError),
}

/// The connections to one Redis.
pub struct Redis {
    target: Target,
    allow_volatile: bool,
    probe_key: String,
    /// The connection for commands, while there is one.
    commands: watch::Sender<Option<MultiplexedConnection>>,
    answers: watch::Sender<bool>,
    state: watch::Sender<State>,
    causes: Mutex<[Option<Arc<str>>; 2]>,
    /// Somebody found the connection for commands broken.
    broken: Notify,
    /// How the first attempt ended.
    first: watch::Sender<Option<Result<(), Unfit>>>,
}

impl Redis {
    /// Nothing is connected before [`Redis::run`].
    ///
    /// # Errors
    ///
    /// When the address is none.
    pub fn new(config: &Config, node: &str) -> Result<Self, RedisError> {
        let starting: Arc<str> = "starting".into();
        let degraded = State::Degraded { since: Timestamp::now(), cause: Arc::clone(&starting) };
        Ok(Self {
            target: Target::parse(&config.redis_url())?,
            allow_volatile: config.allow_volatile_redis,
            probe_key: format!("{}:probe:{node}", config.prefix),
            commands: watch::Sender::new(None),
            answers: watch::Sender::new(false),
            state: watch::Sender::new(degraded),
            causes: Mutex::new([Some(Arc::clone(&starting)), Some(starting)]),
            broken: Notify::new(),
            first: watch::Sender::new(None),
        })
    }

    /// How it is, and how that changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Whether commands are answered, and how that changes.
    #[must_use]
    pub fn answers(&self) -> watch::Receiver<bool> {
        self.answers.subscribe()
    }

    /// Waits for the end of the first attempt to connect.
    ///
    /// # Errors
    ///
    /// When this Redis may not be used. That it cannot be reached is no error here: the node starts without, and goes on trying.
    pub async fn first_attempt(&self) -> Result<(), Unfit> {
        let mut first = self.first.subscribe();
        match first.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().unwrap_or(Ok(())),
            Err(_) => Ok(()),
        }
    }

    /// Sends a command.
    ///
    /// # Errors
    ///
    /// Within [`COMMAND_TIMEOUT`], without a second attempt.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisFailed> {
        self.with(async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Sends several commands at once.
    ///
    /// # Errors
    ///
    /// As [`Redis::query`].
    pub async fn query_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, RedisFailed> {
        self.with(async |mut connection| commands.query_async(&mut connection).await).await
    }

    async fn with<T>(
        &self,
        query: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, RedisFailed> {
        let Some(connection) = self.commands.borrow().clone() else { return Err(RedisFailed::Away) };
        let answer = timeout(COMMAND_TIMEOUT, query(connection)).await;
        let error = match answer.unwrap_or_else(|_| Err(timed_out("no answer in time"))) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        // A refusal may be one of everything, as that of a replica is: that shows at the next trial.
        self.broken.notify_one();
        if is_connection(&error) { Err(RedisFailed::Lost(error)) } else { Err(RedisFailed::Refused(error)) }
    }

    /// A connection of one's own, for what blocks or subscribes.
    pub(super) async fn connect(&self, config: AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
        self.target.connect(&config.set_connection_timeout(Some(CONNECT_TIMEOUT))).await
    }

    /// Keeps the connection for commands until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let keep = async {
            let mut back_off = BackOff::default();
            loop {
                match self.open().await {
                    Ok(connection) => {
                        back_off = BackOff::default();
                        self.commands.send_replace(Some(connection));
                        self.answers.send_replace(true);
                        self.up(Part::Commands);
                        self.first.send_replace(Some(Ok(())));
                        let cause = self.probe().await;
                        self.commands.send_replace(None);
                        self.answers.send_replace(false);
                        self.down(Part::Commands, &cause);
                    }
                    Err(cause) => self.down(Part::Commands, &cause),
                }
                back_off.pause().await;
            }
        };
        stop.run_until_cancelled(keep).await;
        self.commands.send_replace(None);
        self.answers.send_replace(false);
    }

    /// A connection to a Redis that may be used.
    async fn open(&self) -> Result<MultiplexedConnection, String> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(COMMAND_TIMEOUT))
            .set_pipeline_buffer_size(MAX_WAITING);
        let opened = async {
            let mut connection = self.connect(config).await?;
            let unfit = check::unfit(&mut connection, &self.target).await?;
            if unfit.is_none() {
                self.probe_once(&mut connection).await?;
            }
            RedisResult::Ok((connection, unfit))
        };
        let failed = match opened.await {
            Ok((connection, None)) => return Ok(connection),
            Ok((connection, Some(unfit))) if self.allow_volatile => {
                if self.first.borrow().is_none() {
                    tracing::warn!("{unfit}: used all the same, as cluster.allow_volatile_redis says");
                }
                return Ok(connection);
            }
            Ok((_, Some(unfit))) => {
                self.first.send_if_modified(|first| set_once(first, Err(Unfit(unfit.as_str().into()))));
                return Err(unfit);
            }
            Err(error) => error.to_string(),
        };
        if self.first.send_if_modified(|first| set_once(first, Ok(()))) {
            tracing::error!(
                redis = %self.target, cause = %failed,
                "Redis initialization failed: this node goes on alone, and tries again every 0.1 to 2 seconds"
            );
        }
        Err(failed)
    }

    /// Tries the connection out until it is broken; gives the cause.
    async fn probe(&self) -> String {
        loop {
            tokio::select! {
                () = tokio::time::sleep(PROBE_EVERY) => {}
                () = self.broken.notified() => {}
            }
            let Some(mut connection) = self.commands.borrow().clone() else { return "closed".to_owned() };
            let probed = timeout(COMMAND_TIMEOUT, self.probe_once(&mut connection)).await;
            if let Err(error) = probed.unwrap_or_else(|_| Err(timed_out("no answer in time"))) {
                return error.to_string();
            }
        }
    }

    async fn probe_once(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let mut command = redis::cmd("SET");
        command.arg(&self.probe_key).arg(1).arg("PX").arg(10_000);
        command.query_async(connection).await
    }

    /// A part is there again.
    pub(super) fn up(&self, part: Part) {
        self.set(part, None);
    }

    /// A part is missing.
    pub(super) fn down(&self, part: Part, cause: &str) {
        self.set(part, Some(cause.into()));
    }

    fn set(&self, part: Part, cause: Option<Arc<str>>) {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let [commands, subscriptions] = &mut *causes;
        match part {
            Part::Commands => *commands = cause,
            Part::Subscriptions => *subscriptions = cause,
        }
        let cause = commands.as_ref().or(subscriptions.as_ref()).cloned();
        // Under the lock, so that the last word is about what is the case.
        self.state.send_if_modified(|state| match (&*state, cause) {
            (State::Degraded { .. }, None) => {
                tracing::info!(redis = %self.target, "Redis is connected");
                *state = State::Connected;
                true
            }
            (State::Connected, Some(cause)) => {
                tracing::warn!(redis = %self.target, %cause, "Redis is away: this node goes on alone");
                *state = State::Degraded { since: Timestamp::now(), cause };
                true
            }
            (State::Degraded { since, cause: before }, Some(cause)) if *before != cause => {
                *state = State::Degraded { since: *since, cause };
                true
            }
            (State::Connected, None) | (State::Degraded { .. }, Some(_)) => false,
        });
    }
}

fn set_once(first: &mut Option<Result<(), Unfit>>, ended: Result<(), Unfit>) -> bool {
    first.is_none().then(|| *first = Some(ended)).is_some()
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("target", &self.target.to_string()).finish_non_exhaustive()
    }
}

/// Whether a failure is one of the connection, not an answer.
fn is_connection(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error() || error.kind() == ErrorKind::Parse
}

/// Pauses that grow, each by chance somewhat shorter so that the nodes do not come all at once.
#[derive(Default)]
pub(super) struct BackOff {
    attempts: u32,
}

impl BackOff {
    /// Waits before the next attempt.
    pub(super) async fn pause(&mut self) {
        let (first, most) = BACK_OFF;
        let pause = first.saturating_mul(1 << self.attempts.min(8)).min(most);
        self.attempts = self.attempts.saturating_add(1);
        let share = rand::rng().random_range(0.5..1.0);
        tokio::time::sleep(pause.mul_f64(share)).await;
    }
}
