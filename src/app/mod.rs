//! Composition root: what starts, in which order; what stops, in reverse.
//!
//! Start: secret, database, listener, features, then ready. Stop: no new sessions, clients told, answers of what is under
//! way sent, commits finished, database closed; within `server.shutdown_timeout_ms` in any case.

pub mod door;
pub mod exit;
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
    time::timeout,
};
use tower::ServiceBuilder;

use self::{
    exit::{ExitCode, ExitError},
    reload::Reload,
    resources::Watch,
    secret::Origin,
    service::Service,
};
use crate::{
    admin::Admin,
    cluster::{Adapter, Single},
    config::{Config, ConfigError},
    features::{
        Features,
        auth::{Algorithm, Keys},
        offline_queue::Background,
        session::ServerRestarting,
    },
    http::{self, Origins, Proxies, Stopper},
    protocol::engineio::CloseReason,
    server::{self, Limits, Server},
    storage::{self, Store},
    telemetry::{Logging, Metrics, Obstacles},
    transport::Transport,
};

/// Kept of the time to stop for closing the database.
const CLOSE_RESERVE: Duration = Duration::from_secs(2);
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
    let (keys, origin) = secret::keys(&config)?;
    let store = open(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let reload = Reload::new(config.clone(), load);
    runtime.block_on(serve(config, store, keys, origin, logging, reload))
}

async fn serve(
    config: Config,
    store: Store,
    keys: Keys,
    origin: Option<Origin>,
    logging: Logging,
    mut reload: Reload,
) -> anyhow::Result<()> {
    let listener = bind(config.server.listen).await?;
    let address = listener.local_addr()?;
    let stopper = Stopper::default();
    let origins =
        Origins::from_setting(&config.server.client_origin, config.server.listen.ip().is_loopback()).changing();
    let adapter: Arc<dyn Adapter> = Arc::new(Single);
    let metrics = Metrics::default();
    let background =
        Background { tracker: stopper.tracker.clone(), stop: stopper.stop.clone(), metrics: metrics.clone() };
    let features = Features::new(config.features(), &store, keys, origins.clone(), &adapter, background)?;
    let features = Arc::new(features);
    resources::refuse_writes_when_full(&config, &store);
    // Before anything is sent that a client which is to come back would miss.
    features.parked.restore(Limits::from(&config.socketio).recovery).await;
    let server = builder(&config, &metrics, &origins);
    let server = features.serve(server).build();
    let transport = Transport::new(config.socketio.clone(), server, stopper.tracker.clone());
    let obstacles = Obstacles::default();
    metrics::connect(&metrics, &features, &transport, (&store, &storage_config(&config)), &logging);
    let door = door::serve(&config, &features, logging.levels().clone(), &stopper).await?;
    register_reloads(&mut reload, logging, &origins, &features);
    let admin = Admin { obstacles: obstacles.clone(), metrics: metrics.clone(), metrics_access: config.server.metrics };
    let service = Service::new(
        transport.clone(),
        reference::rest(&features, &admin),
        config.server.max_body_bytes,
        config.server.body_timeout(),
        (Proxies::from_setting(&config.server.trusted_proxies), metrics),
        features.namespaces().iter().map(|namespace| Arc::clone(namespace.name())),
    );
    let service =
        ServiceBuilder::new().layer(http::cors(origins)).service_fn(move |request| service.clone().answer(request));
    let watch = Watch::new(&config, store.clone(), transport.clone(), obstacles.clone());
    stopper.tracker.spawn(watch.run(stopper.stop.clone()));
    let mut http_config = config.server.clone();
    http_config.max_connections = resources::connections(http_config.max_connections);
    stopper.tracker.spawn(http::serve(listener, http_config, service, stopper.clone()));
    stopper.tracker.spawn(Arc::clone(&features).run(stopper.stop.clone()));
    // Before anybody hears that the server is there: from then on a signal stops it in order.
    let signals = Signals::new()?;
    announce(&config, address, origin.as_ref());
    sd_notify::notify(&[NotifyState::Ready]).ok();
    let result = wait(&store, &obstacles, signals, reload).await;
    let drained = stop_all(&config, &features, &transport, &stopper, &obstacles).await;
    drop(door);
    let close = async {
        features.stop(drained).await;
        store.close().await;
    };
    if timeout(CLOSE_RESERVE, close).await.is_err() {
        tracing::error!("the database was not closed in time; it is whole, the next start takes a moment longer");
    }
    // A disk that fails at the very end must not look like a clean stop.
    if result.is_ok() && store.failed().now_or_never().is_some() {
        return Err(ExitError::new(ExitCode::Io, CANNOT_WRITE).into());
    }
    tracing::info!("stopped");
    result
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
async fn wait(store: &Store, obstacles: &Obstacles, mut signals: Signals, mut reload: Reload) -> anyhow::Result<()> {
    let mut failed = pin!(store.failed());
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
            () = failed.as_mut() => {
                obstacles.set("P1", "the database cannot be written");
                return Err(ExitError::new(ExitCode::Io, CANNOT_WRITE).into());
            }
        }
        return Ok(());
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
    stopper: &Stopper,
    obstacles: &Obstacles,
) -> bool {
    // Before anybody hears of the stop: whoever has heard may ask a second time at once.
    let again = signal(SignalKind::terminate());
    obstacles.set("P36", "stopping");
    sd_notify::notify(&[NotifyState::Stopping]).ok();
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

fn open(config: &Config) -> Result<Store, ExitError> {
    Store::open(&storage_config(config))
        .map_err(|error| ExitError { code: error.exit_code(), message: error.to_string() })
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
