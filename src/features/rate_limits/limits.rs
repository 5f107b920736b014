//! The rules of the rate limits.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use dashmap::DashMap;
use tokio_util::sync::CancellationToken;

use super::{
    Config, Limit,
    address::{self, Network},
    bucket::{Buckets, Counts, Verdict},
    policy::{Counted, Names, Policy},
    socket::Offence,
};
use crate::{
    clock::{self, Instant},
    codes::ErrorCode,
    ids::{SocketId, UserId},
    server::{ClientEventDoc, Refusal},
    telemetry::Metrics,
    transport::{Permit, Rejection},
};

/// The sentence that clients of the reference app show.
pub(super) const EXCEEDED: &str = "Rate limit exceeded";
/// How often buckets that are full again are forgotten.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// How often the operator hears of addresses that are kept out.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// The rate limits.
pub struct RateLimits {
    policy: RwLock<Arc<Policy>>,
    names: OnceLock<Names>,
    users: Buckets<(UserId, Counted)>,
    backends: Buckets<Arc<str>>,
    addresses: Buckets<Network>,
    sessions: Arc<Counts<Network>>,
    pub(super) sockets: Counts<(UserId, Arc<str>)>,
    /// Sockets that were refused something lately. They go with the socket.
    pub(super) offences: DashMap<SocketId, Offence>,
    pub(super) metrics: Metrics,
    warned: Mutex<Option<Instant>>,
}

/// Why an event or a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exceeded(pub(super) Verdict);

impl From<Exceeded> for Refusal {
    fn from(Exceeded(verdict): Exceeded) -> Self {
        limited(EXCEEDED, verdict.limit.max, verdict.retry_after)
            .with("windowMs", verdict.limit.window_ms)
            .with("remaining", verdict.remaining)
    }
}

/// A refusal by a limit.
fn limited(message: &str, limit: u32, retry_after: Duration) -> Refusal {
    Refusal::new(ErrorCode::RateLimited, message).with("limit", limit).with("retryAfterMs", whole_millis(retry_after))
}

/// Rounded up, so that whoever waits as long is not too early.
pub(super) fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// The same in seconds.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    whole_millis(duration).div_ceil(1000)
}

impl RateLimits {
    /// Limits of which nothing is used yet.
    #[must_use]
    pub fn new(config: Config, metrics: Metrics) -> Self {
        Self {
            policy: RwLock::new(Arc::new(Policy::new(config, &Names::new()))),
            names: OnceLock::new(),
            users: Buckets::new(),
            backends: Buckets::new(),
            addresses: Buckets::new(),
            sessions: Arc::default(),
            sockets: Counts::default(),
            offences: DashMap::new(),
            metrics,
            warned: Mutex::default(),
        }
    }

    /// Says which events there are, so that a limit may be written under an old name of one. The first call counts.
    pub fn set_events(&self, events: &[ClientEventDoc]) {
        let mut names = Names::new();
        for event in events {
            names.insert(event.name, event.name);
            names.extend(event.aliases.iter().map(|alias| (*alias, event.name)));
        }
        if self.names.set(names).is_ok() {
            self.replace(self.policy().config.clone());
        }
    }

    /// Other limits from now on. What was used of the old ones stays used.
    pub fn replace(&self, config: Config) {
        let (names, none) = (self.names.get(), Names::new());
        let policy = Policy::new(config, names.unwrap_or(&none));
        for name in names.into_iter().flat_map(|names| policy.unknown(names)) {
            tracing::warn!(event = name, "rate_limits.events names an event that there is not");
        }
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    /// Forgets what is not used any more, until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let sweep = async {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                self.sweep();
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = sweep => {}
        }
    }

    pub(super) fn sweep(&self) {
        let now = clock::now();
        self.users.sweep(now);
        self.backends.sweep(now);
        self.addresses.sweep(now);
    }

    /// How many buckets are kept.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.users.len() + self.backends.len() + self.addresses.len()
    }

    /// Counts an event of a user, told by its present name.
    pub(super) fn event(&self, user: &UserId, roles: &[String], name: &str) -> Result<(), Exceeded> {
        let Some((counted, limit)) = self.policy().of(name, roles) else { return Ok(()) };
        let verdict = self.users.take((user.clone(), counted), limit, clock::now());
        if verdict.allowed {
            return Ok(());
        }
        self.metrics.limited(self.names.get().and_then(|names| names.get(name)).copied());
        Err(Exceeded(verdict))
    }

    /// Counts a REST request of a user; `None` without a limit.
    pub(super) fn request(&self, user: &UserId) -> Option<Verdict> {
        let limit = self.policy().config.rest().enabled()?;
        Some(self.counted(self.users.take((user.clone(), Counted::Rest), limit, clock::now())))
    }

    /// Counts a REST request with a key of the app's backend; `None` without a limit.
    pub(super) fn backend_request(&self, key_id: &str) -> Option<Verdict> {
        let limit = self.policy().config.backend().enabled()?;
        Some(self.counted(self.backends.take(key_id.into(), limit, clock::now())))
    }

    fn counted(&self, verdict: Verdict) -> Verdict {
        if !verdict.allowed {
            self.metrics.limited(Some("rest"));
        }
        verdict
    }

    /// The limit of a user as it is at the moment.
    pub(super) fn general(&self, roles: &[String]) -> Option<Limit> {
        self.policy().general(roles)
    }

    // ---- addresses ---------------------------------------------------------------------------------------------------------

    /// Lets a client open a session. It counts for its address until its user has shown who he is.
    ///
    /// # Errors
    ///
    /// When too many sessions of this address are open, or too much of what came from there has failed.
    pub fn admit_session(&self, address: IpAddr) -> Result<Option<Permit>, Rejection> {
        let Some(network) = Network::of(address) else { return Ok(None) };
        let policy = self.policy();
        if let Some(limit) = policy.config.address().enabled() {
            let verdict = self.addresses.take(network, limit, clock::now());
            if !verdict.allowed {
                return Err(self.reject(network, EXCEEDED, limit.max, verdict.retry_after));
            }
        }
        let max = policy.config.sessions_per_address;
        if !self.sessions.enter(network, max) {
            self.addresses.give_back(&network, clock::now());
            return Err(self.reject(network, "Too many sessions from this address", max, RETRY_WHEN_FULL));
        }
        Ok(Some(Arc::new(address::Counted { sessions: Arc::clone(&self.sessions), network })))
    }

    /// Somebody has shown who he is: the session that he opened for it does not count.
    pub fn signed_in(&self, address: IpAddr) {
        if let Some(network) = Network::of(address) {
            self.addresses.give_back(&network, clock::now());
        }
    }

    /// Somebody has not shown who he is. Gives the refusal that he gets instead of `refusal` when that was once too often.
    #[must_use]
    pub fn sign_in_refused(&self, address: IpAddr, refusal: Refusal) -> Refusal {
        if refusal.code.http_status() != 401 {
            return refusal;
        }
        match self.charge(address) {
            Some(verdict) if !verdict.allowed => Exceeded(verdict).into(),
            Some(_) | None => refusal,
        }
    }

    /// Counts a failure for an address; `None` where addresses are not counted.
    pub(super) fn charge(&self, address: IpAddr) -> Option<Verdict> {
        let limit = self.policy().config.address().enabled()?;
        let network = Network::of(address)?;
        let verdict = self.addresses.take(network, limit, clock::now());
        if !verdict.allowed {
            self.warn(network, limit.max);
        }
        Some(verdict)
    }

    fn reject(&self, network: Network, message: &'static str, limit: u32, retry_after: Duration) -> Rejection {
        self.metrics.refusal(ErrorCode::RateLimited);
        self.warn(network, limit);
        Rejection { message, limit, retry_after }
    }

    fn warn(&self, network: Network, limit: u32) {
        let now = clock::now();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|last| now.saturating_duration_since(last) >= WARN_EVERY) {
            *warned = Some(now);
            tracing::warn!(
                address = %network, limit,
                "an address is kept out by its limit; if it is a proxy, name it in server.trusted_proxies"
            );
        }
    }

    // ---- sockets ------------------------------------------------------------------------------------------------------------

    /// Lets a socket of `user` into a namespace; [`leave`](Self::leave) goes with it.
    ///
    /// # Errors
    ///
    /// `rate_limited` when he has as many as he may.
    pub fn enter(&self, user: &UserId, namespace: &Arc<str>) -> Result<(), Refusal> {
        let max = self.policy().config.sockets_per_user;
        if self.sockets.enter((user.clone(), Arc::clone(namespace)), max) {
            return Ok(());
        }
        Err(limited("Too many sockets of this user", max, RETRY_WHEN_FULL))
    }

    /// A socket that was let in is gone.
    pub fn leave(&self, user: &UserId, namespace: &Arc<str>) {
        self.sockets.leave(&(user.clone(), Arc::clone(namespace)));
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// When to come again while others are in the way: nobody knows when one of them goes.
const RETRY_WHEN_FULL: Duration = Duration::from_secs(5);
