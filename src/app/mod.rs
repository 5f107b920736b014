//! Composition root: what starts, in which order; what stops, in reverse.
//!
//! Start: secret, database, listener, features, then ready. Stop: no new sessions, clients told, answers of what is under
//! way sent, commits finished, database closed; within `server.shutdown_timeout_ms` in any case.

mod cluster;
mod copies;
pub mod door;
pub mod exit;
mod forward;
mod metrics;
pub mod reference;
pub mod reload;
mod resources;
pub mod secret;
mod service;

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use rand::RngExt as _;
use sd_notify::NotifyState;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::block_in_place,
    time::timeout,
};
use tower::ServiceBuilder;

use self::{
    cluster::Membership,
    exit::{ExitCode, ExitError},
    reload::Reload,
    resources::Watch,
    secret::Origin,
    service::Service,
};
use crate::{
    admin::Admin,
    config::{Config, ConfigError},
    features::{
        Features,
        auth::{Algorithm, Keys},
        elsewhere::Neighbors,
        offline_queue::Background,
        session::ServerRestarting,
    },
    http::{self, Origins, Proxies, Stopper},
    protocol::engineio::CloseReason,
    server::{self, Limits, Server},
    storage::{self, Store, replicated::Replica},
    telemetry::{Logging, Metrics, Obstacles},
    transport::Transport,
};

/// Kept of the time to stop for closing the database.
const CLOSE_RESERVE: Duration = Duration::from_secs(2);
/// Before the next copy is made, when one could not be used.
const PAUSE_AFTER_BAD_COPY: Duration = Duration::from_secs(30);
/// The end of a process whose database has failed.
const CANNOT_WRITE: &str = "the database cannot be written any more: look at the disk, then start again";
/// How often a stopping server looks whether its sessions have ended.
const DRAIN_STEP: Duration = Duration::from_millis(10);
/// Clients come back after a restart within this time, spread at random so that they do not come all at once.
const RECONNECT_SPREAD_MS: std::ops::Range<u64> = 500..5000;

/// Runs the server until it is told to stop. At SIGHUP `load` reads the settings again.
///
/// # Errors
///
/// When it cannot start, or the database failed while it ran.
pub fn run(
    config: Config,
    logging: Logging,
    load: impl FnMut() -> Result<Config, ConfigError> + Send + 'static,
) -> anyhow::Result<()> {
    let keys = secret::keys(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let reload = Reload::new(config.clone(), load);
    let process = Process { config, logging, reload, signals: None, listener: None, pause: Duration::ZERO };
    runtime.block_on(process.run(keys))
}

/// What outlasts a server: a node whose database is replaced starts anew with it.
struct Process {
    config: Config,
    logging: Logging,
    reload: Reload,
    signals: Option<Signals>,
    /// Another handle of the socket that listens: connections wait there meanwhile.
    listener: Option<std::net::TcpListener>,
    /// Before the next copy, when the last one was no use.
    pause: Duration,
}

/// How a server ends.
enum End {
    /// Somebody wants it to.
    Stop,
    /// There is a copy of another node's database, to go on with under this node's name.
    Replace(String),
}

impl Process {
    async fn run(mut self, mut keys: (Keys, Option<Origin>)) -> anyhow::Result<()> {
        let config = &self.config.clone();
        loop {
            let End::Replace(node) = serve(config, keys, &mut self).await? else { return Ok(()) };
            tracing::info!("putting the copy in the place of the database");
            self.pause = match block_in_place(|| copies::replace(&storage_config(config), &node)) {
                Ok(imported) => {
                    tracing::info!(
                        rows = imported.rows,
                        own_entries = imported.carried,
                        "the copy is the database now"
                    );
                    Duration::ZERO
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "the copy was not taken over: the old database stays");
                    PAUSE_AFTER_BAD_COPY
                }
            };
            self.reload.restart();
            keys = secret::keys(config)?;
        }
    }

    fn register_reloads(&mut self, origins: &Origins, features: &Features) {
        register_reloads(&mut self.reload, self.logging.clone(), origins, features);
        if self.signals.is_some() {
            // What was changed while the server before this one ran.
            self.reload.reload();
        }
    }

    fn listen_to_signals(&mut self) -> io::Result<()> {
        if self.signals.is_none() {
            self.signals = Some(Signals::new()?);
        }
        Ok(())
    }

    async fn listen(&mut self, config: &Config) -> anyhow::Result<TcpListener> {
        let listener = match self.listener.take() {
            Some(listener) => TcpListener::from_std(listener)?,
            None => bind(config.server.listen).await?,
        };
        if !config.cluster.enabled {
            return Ok(listener);
        }
        let listener = listener.into_std()?;
        self.listener = Some(listener.try_clone()?);
        Ok(TcpListener::from_std(listener)?)
    }
}

async fn serve(config: &Config, (keys, origin): (Keys, Option<Origin>), process: &mut Process) -> anyhow::Result<End> {
    let membership = Membership::new(config)?;
    let (store, replica) = open(config, membership.as_ref())?;
    let listener = process.listen(config).await?;
    let address = listener.local_addr()?;
    let stopper = Stopper::default();
    let origins =
        Origins::from_setting(&config.server.client_origin, config.server.listen.ip().is_loopback()).changing();
    let metrics = Metrics::default();
    let background =
        Background { tracker: stopper.tracker.clone(), stop: stopper.stop.clone(), metrics: metrics.clone() };
    let neighbors = membership.as_ref().map_or_else(Neighbors::none, Membership::neighbors);
    let features = Features::new(config.features(), &store, keys, origins.clone(), neighbors, background)?;
    let features = Arc::new(features);
    resources::refuse_writes_when_full(config, &store);
    // Before anything is sent that a client which is to come back would miss.
    features.parked.restore(Limits::from(&config.socketio).recovery).await;
    let server = builder(config, &metrics, &origins);
    let server = features.serve(server).build();
    let tag = membership.as_ref().map(Membership::tag).unwrap_or_default();
    let transport = Transport::tagged(config.socketio.clone(), server, stopper.tracker.clone(), &tag);
    let obstacles = Obstacles::default();
    let node = match (&membership, replica) {
        (Some(membership), Some(replica)) => {
            membership.start(&store, replica, (&obstacles, &metrics)).await?;
            membership.http(&store, transport.config(), &stopper)
        }
        _ => None,
    };
    metrics::connect(&metrics, &features, &transport, (&store, &storage_config(config)), &process.logging);
    let door = door::serve(config, &features, process.logging.levels().clone(), &stopper).await?;
    process.register_reloads(&origins, &features);
    let watch = Watch::new(config, store.clone(), transport.clone(), obstacles.clone());
    stopper.tracker.spawn(watch.run(stopper.stop.clone()));
    let admin = Admin { obstacles: obstacles.clone(), metrics: metrics.clone(), metrics_access: config.server.metrics };
    let service = Service::new(
        transport.clone(),
        reference::rest(&features, &admin),
        config.server.max_body_bytes,
        config.server.body_timeout(),
        (Proxies::from_setting(&config.server.trusted_proxies), metrics),
        node,
        features.namespaces().iter().map(|namespace| Arc::clone(namespace.name())),
    );
    answer(listener, config, service, origins, &stopper);
    stopper.tracker.spawn(Arc::clone(&features).run(stopper.stop.clone()));
    // Before anybody hears that the server is there: from then on a signal stops it in order.
    process.listen_to_signals()?;
    announce(config, address, origin.as_ref());
    sd_notify::notify(&[NotifyState::Ready]).ok();
    let copied = copied(membership.as_ref(), &store, config, &obstacles, process.pause);
    let end = wait(&store, &obstacles, process, copied).await;
    let drained = stop_all(config, &features, &transport, (&stopper, &obstacles), &end).await;
    drop(door);
    close(&features, &store, membership, drained).await;
    // A disk that fails at the very end must not look like a clean stop.
    if end.is_ok() && store.failed().now_or_never().is_some() {
        return Err(ExitError::new(ExitCode::Io, CANNOT_WRITE).into());
    }
    tracing::info!("stopped");
    end
}

/// Answers requests from now on.
fn answer(listener: TcpListener, config: &Config, service: Service, origins: Origins, stopper: &Stopper) {
    let service =
        ServiceBuilder::new().layer(http::cors(origins)).service_fn(move |request| service.clone().answer(request));
    let mut http_config = config.server.clone();
    http_config.max_connections = resources::connections(http_config.max_connections);
    stopper.tracker.spawn(http::serve(listener, http_config, service, stopper.clone()));
}

/// Ends when there is a copy of another node's database, because that of this node is no use; gives the name of this node.
async fn copied(
    membership: Option<&Membership>,
    store: &Store,
    config: &Config,
    obstacles: &Obstacles,
    pause: Duration,
) -> Result<String, ExitError> {
    match membership {
        Some(membership) => membership.copied(store, &storage_config(config), obstacles, pause).await,
        None => std::future::pending().await,
    }
}

/// What was submitted is committed; then the database is closed, and the other nodes hear that this one goes.
async fn close(features: &Features, store: &Store, membership: Option<Membership>, drained: bool) {
    let close = async {
        features.stop(drained).await;
        store.close().await;
    };
    if timeout(CLOSE_RESERVE, close).await.is_err() {
        tracing::error!("the database was not closed in time; it is whole, the next start takes a moment longer");
    }
    if let Some(membership) = membership {
        membership.leave().await;
    }
}

/// A server that asks, where that is wanted, which page a browser comes from.
fn builder(config: &Config, metrics: &Metrics, origins: &Origins) -> server::Builder {
    let server = Server::builder(Limits::from(&config.socketio)).metrics(metrics);
    if !config.socketio.check_origin {
        return server;
    }
    let origins = origins.clone();
    server.allow(move |handshake| {
        http::page_may_connect(handshake.origin.as_deref(), handshake.fetch_site.as_deref(), &origins)
    })
}

/// What changes while the server runs. A room whose settings can change adds a line.
fn register_reloads(reload: &mut Reload, logging: Logging, origins: &Origins, features: &Features) {
    // In any case, since whoever moves log files away sends the signal for new ones.
    reload.always(&["log.filter", "log.socket_events", "log.dir", "log.keep_days"], move |config| {
        if let Err(error) = logging.reload(&config.log) {
            tracing::error!(%error, "cannot open the new log file: the old one stays in use");
        }
    });
    let origins = origins.clone();
    reload.on(&["server.client_origin"], move |config| {
        origins.set(Origins::from_setting(&config.server.client_origin, config.server.listen.ip().is_loopback()));
    });
    let rate_limits = Arc::clone(&features.rate_limits);
    reload.on(&["rate_limits."], move |config| rate_limits.replace(config.rate_limits.clone()));
    let locks = Arc::clone(&features.locks);
    reload.on(&["locks."], move |config| locks.set_config(config.locks.clone()));
    let auth = Arc::clone(&features.auth);
    // Always: the files of keys may have changed while the settings that name them have not.
    reload.always(secret::SETTINGS, move |config| match secret::keys(config) {
        Ok((keys, _)) => auth.replace_keys(keys),
        Err(error) => tracing::error!(%error, "cannot read the keys for tokens: the old ones stay in use"),
    });
}

/// The signals that the server listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Waits until somebody wants the server to stop, or it cannot go on. Reads the settings again when told to.
async fn wait(
    store: &Store,
    obstacles: &Obstacles,
    process: &mut Process,
    copied: impl Future<Output = Result<String, ExitError>>,
) -> anyhow::Result<End> {
    let Process { signals, reload, .. } = process;
    let Some(signals) = signals else { return Ok(End::Stop) };
    let mut failed = pin!(store.failed());
    let mut copied = pin!(copied);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
            _ = signals.interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
            _ = signals.hangup.recv() => {
                tell_reloading();
                reload.reload();
                sd_notify::notify(&[NotifyState::Ready]).ok();
                continue;
            }
            node = copied.as_mut() => {
                tracing::info!("stopping, to start again with the copy");
                return Ok(End::Replace(node?));
            }
            () = failed.as_mut() => {
                obstacles.set("P1", "the database cannot be written");
                return Err(ExitError::new(ExitCode::Io, CANNOT_WRITE).into());
            }
        }
        return Ok(End::Stop);
    }
}

/// systemd wants to know when, to tell this reload from the next.
fn tell_reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        sd_notify::notify(&[NotifyState::Reloading, now]).ok();
    }
}

/// Ends what goes on. False when some of it did not end in time.
async fn stop_all(
    config: &Config,
    features: &Features,
    transport: &Transport<Server>,
    (stopper, obstacles): (&Stopper, &Obstacles),
    end: &anyhow::Result<End>,
) -> bool {
    // Before anybody hears of the stop: whoever has heard may ask a second time at once.
    let again = signal(SignalKind::terminate());
    obstacles.set("P36", "stopping");
    if matches!(end, Ok(End::Replace(_))) {
        tell_reloading();
    } else {
        sd_notify::notify(&[NotifyState::Stopping]).ok();
    }
    for namespace in features.namespaces() {
        for socket in namespace.sockets() {
            socket.emit(&ServerRestarting { retry_after_ms: rand::rng().random_range(RECONNECT_SPREAD_MS) });
        }
    }
    transport.close_all(CloseReason::Shutdown);
    let patience = config.server.shutdown_timeout().saturating_sub(CLOSE_RESERVE);
    let drained = async {
        // Polling clients need a connection to fetch what is left for them, so the listener goes last; new sessions are refused.
        while transport.sessions() > 0 {
            tokio::time::sleep(DRAIN_STEP).await;
        }
        stopper.stop.cancel();
        stopper.tracker.close();
        stopper.tracker.wait().await;
    };
    let again = async {
        match again {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    let drained = tokio::select! {
        () = drained => true,
        _ = again => {
            tracing::warn!("told to stop a second time: not waiting for clients");
            false
        }
        () = tokio::time::sleep(patience) => {
            tracing::warn!(connections = transport.sessions(), "clients did not leave in time");
            false
        }
    };
    stopper.stop.cancel();
    drained
}

fn open(config: &Config, membership: Option<&Membership>) -> Result<(Store, Option<Replica>), ExitError> {
    let storage = storage_config(config);
    let opened = match membership {
        None => Store::open(&storage).map(|store| (store, None)),
        Some(membership) => membership.open(&storage).map(|(store, replica)| (store, Some(replica))),
    };
    opened.map_err(|error| ExitError { code: error.exit_code(), message: error.to_string() })
}

fn storage_config(config: &Config) -> storage::Config {
    let mut storage = storage::Config::new(&config.storage.dir);
    storage.cache_bytes = config.storage.cache_bytes;
    storage
}

async fn bind(listen: SocketAddr) -> Result<TcpListener, ExitError> {
    TcpListener::bind(listen).await.map_err(|error| {
        let what = format!("cannot listen on {listen}");
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                let hint = "another program listens there: stop it, or choose another address with --listen";
                ExitError::new(ExitCode::Unavailable, format!("{what}: {hint}"))
            }
            io::ErrorKind::AddrNotAvailable => {
                ExitError::new(ExitCode::Config, format!("{what}: this machine has no such address"))
            }
            _ => ExitError::from_io(ExitCode::Unavailable, &what, &error),
        }
    })
}

/// Tells the operator what there is and what to try next.
fn announce(config: &Config, address: SocketAddr, origin: Option<&Origin>) {
    tracing::info!(url = %format_args!("http://{address}"), path = %config.socketio.path, "listening");
    tracing::info!(dir = %config.storage.dir.display(), "data");
    let algorithm = config.auth.algorithm;
    match origin {
        None if algorithm != Algorithm::Hs256 => {
            tracing::info!(algorithm = algorithm.name(), "tokens are checked with the configured public keys");
        }
        None => tracing::info!("tokens are checked with the configured secret"),
        Some(Origin::Created(path)) => {
            tracing::info!(file = %path.display(), "no JWT secret is configured: made one, for this server alone");
        }
        Some(Origin::Found { path, exposed: false }) => {
            tracing::info!(file = %path.display(), "no JWT secret is configured: using the one made earlier");
        }
        Some(Origin::Found { path, exposed: true }) => {
            tracing::warn!(file = %path.display(), "the JWT secret can be read by others: chmod 600 it");
        }
    }
    if config.server.client_origin.is_empty() && !address.ip().is_loopback() {
        tracing::warn!("no CLIENT_ORIGIN is configured: browsers let no page of another origin connect");
    }
    if algorithm == Algorithm::Hs256 {
        tracing::info!("try next: hobnob token sign --user alice");
    }
}
