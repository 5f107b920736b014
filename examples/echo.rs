//! A second application on the server core, without chat: what conformance suites and benchmarks talk to.
//!
//! Namespaces `/` and `/custom`, each with the events `message`, `message-with-ack`, `emit-with-ack`, `echo`, `join` and `say`.
//! With `--raw-engine` it echoes at the Engine.IO level instead, and with `--raw-websocket` at that of WebSocket.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use clap::Parser;
use hobnob::{
    cluster::Single,
    codes::ErrorCode,
    http::{self, Body, Origins, Stopper},
    protocol::engineio::{CloseReason, Packet},
    server::{
        Admission, Args, ConnectError, ConnectRequest, Connecting, Event, Limits, Middleware, Namespace, Outcome,
        Refusal, Reply, Routes, Server, Socket, decode_json,
    },
    transport::{self, Application, Config, Connection, Handshake, Outgoing, Session, Transport},
};
use hyper::{Request, StatusCode, body::Incoming};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{net::TcpListener, signal};
use tower::ServiceBuilder;

/// How long `emit-with-ack` waits for the client.
const ACK_PATIENCE: Duration = Duration::from_secs(5);

/// As in the server's binary, so that a benchmark of this one says something about that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Echoes over Socket.IO, for conformance suites and benchmarks.
#[derive(Debug, Clone, Parser)]
struct Flags {
    /// Address and port to listen on.
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Path of the endpoint.
    #[arg(long, default_value = "/socket.io/")]
    path: String,
    /// Time between two heartbeats.
    #[arg(long, default_value_t = 25_000)]
    ping_interval_ms: u64,
    /// Time to answer a heartbeat.
    #[arg(long, default_value_t = 20_000)]
    ping_timeout_ms: u64,
    /// Time to finish an upgrade.
    #[arg(long, default_value_t = 10_000)]
    upgrade_timeout_ms: u64,
    /// Time to join a first namespace.
    #[arg(long, default_value_t = 45_000)]
    connect_timeout_ms: u64,
    /// Largest message in bytes.
    #[arg(long, default_value_t = 1_000_000)]
    max_payload: usize,
    /// Smaller messages are not compressed.
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    deflate_threshold: usize,
    /// How long a session may be taken up again. The conformance suite of Socket.IO fails by design unless it is 0.
    #[arg(long, default_value_t = 0)]
    recovery_ms: u64,
    /// The origin whose pages may connect, with credentials.
    #[arg(long)]
    allowed_origin: Option<String>,
    /// Refuse Engine.IO 3.
    #[arg(long)]
    no_eio3: bool,
    /// Demand an HS256 token signed with this secret in every namespace.
    #[arg(long)]
    jwt_secret: Option<String>,
    /// Echo Engine.IO messages; no Socket.IO.
    #[arg(long)]
    raw_engine: bool,
    /// Echo WebSocket messages on every path; no Engine.IO.
    #[arg(long, conflicts_with = "raw_engine")]
    raw_websocket: bool,
    /// Worker threads; all cores without it.
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = flags.threads {
        runtime.worker_threads(threads);
    }
    runtime.enable_all().build()?.block_on(run(flags))
}

async fn run(flags: Flags) -> anyhow::Result<()> {
    let stopper = Stopper::default();
    let config = Config {
        path: flags.path.clone(),
        ping_interval_ms: flags.ping_interval_ms,
        ping_timeout_ms: flags.ping_timeout_ms,
        upgrade_timeout_ms: flags.upgrade_timeout_ms,
        connect_timeout_ms: flags.connect_timeout_ms,
        max_http_buffer_bytes: flags.max_payload,
        unauthenticated_bytes: flags.max_payload,
        allow_eio3: !flags.no_eio3,
        compression_threshold_bytes: flags.deflate_threshold,
        recovery_ms: flags.recovery_ms,
        ..Config::default()
    };
    if flags.raw_websocket {
        return serve_websocket(flags, config, stopper).await;
    }
    if flags.raw_engine {
        return serve(flags, Transport::new(config, RawEcho, stopper.tracker.clone()), stopper).await;
    }
    let mut server = Server::builder(Limits::from(&config));
    for name in ["/", "/custom"] {
        let namespace = Namespace::new(name, Arc::new(Single));
        let gate = Gate { jwt_secret: flags.jwt_secret.clone() };
        server = server.namespace(&namespace, Arc::new(gate), routes(&namespace, &stopper));
    }
    serve(flags, Transport::new(config, server.build(), stopper.tracker.clone()), stopper).await
}

/// Serves until SIGTERM or Ctrl-C, then ends all sessions.
async fn serve<A: Application>(flags: Flags, transport: Transport<A>, stopper: Stopper) -> anyhow::Result<()> {
    let origins = Origins::Listed(flags.allowed_origin.into_iter().collect());
    let engine = transport.clone();
    let service = ServiceBuilder::new().layer(http::cors(origins)).service_fn(move |request: Request<Incoming>| {
        let engine = engine.clone();
        async move {
            let peer = request.extensions().get::<SocketAddr>().copied();
            let response = match peer {
                Some(peer) if request.uri().path() == engine.config().path => {
                    engine.handle(request, peer).await.map(Body::new)
                }
                _ => {
                    let mut response = hyper::Response::new(Body::from("not found\n"));
                    *response.status_mut() = StatusCode::NOT_FOUND;
                    response
                }
            };
            Ok::<_, Infallible>(response)
        }
    });
    listen(flags.listen, service, &stopper).await?;
    transport.close_all(CloseReason::Shutdown);
    finish(&stopper).await;
    Ok(())
}

/// Serves WebSocket echoes until SIGTERM or Ctrl-C.
async fn serve_websocket(flags: Flags, config: Config, stopper: Stopper) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let tracker = stopper.tracker.clone();
    let service = tower::service_fn(move |mut request: Request<Incoming>| {
        let response = transport::echo(&mut request, &config, &tracker);
        std::future::ready(Ok::<_, Infallible>(response.map(Body::new)))
    });
    listen(flags.listen, service, &stopper).await?;
    finish(&stopper).await;
    Ok(())
}

/// Listens until SIGTERM or Ctrl-C.
async fn listen<S>(address: SocketAddr, service: S, stopper: &Stopper) -> anyhow::Result<()>
where
    S: tower::Service<Request<Incoming>, Response = hyper::Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind(address).await?;
    let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    let stopping = async {
        tokio::select! {
            _ = signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    let listening = http::serve(listener, http::Config::default(), service, stopper.clone());
    tokio::select! {
        () = listening => {}
        () = stopping => {}
    }
    stopper.stop.cancel();
    Ok(())
}

/// Gives what is open the time to end.
async fn finish(stopper: &Stopper) {
    stopper.tracker.close();
    tokio::time::timeout(Duration::from_secs(10), stopper.tracker.wait()).await.ok();
}

// ---- Socket.IO -----------------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Say<'a> {
    room: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

fn routes(namespace: &Arc<Namespace>, stopper: &Stopper) -> Routes {
    let tracker = stopper.tracker.clone();
    let room_of = Arc::clone(namespace);
    let members_of = Arc::clone(namespace);
    Routes::new()
        .on_raw("message", |socket, event| {
            let args: Vec<&str> = event.args.iter().map(|arg| arg.get()).collect();
            socket.emit_raw("message-back", &args, event.attachments);
            Reply::Now(Outcome::Silent)
        })
        .on_raw("message-with-ack", |_, event| Reply::Now(Outcome::Ack(Args::of(event))))
        .on_raw("emit-with-ack", move |socket, event| {
            let (socket, args) = (Arc::clone(socket), Args::of(event));
            // Not part of the request: the client may answer whenever it likes.
            tracker.spawn(async move {
                if let Ok(answer) = socket.emit_with_ack("emit-with-ack", &args, ACK_PATIENCE).await {
                    let json: Vec<&str> = answer.json.iter().map(String::as_str).collect();
                    socket.emit_raw("emit-with-ack", &json, &answer.attachments);
                }
            });
            Reply::Now(Outcome::Silent)
        })
        .on_raw("echo", |_, event| Reply::Now(Outcome::Ack(Args::of(event))))
        .on_raw("join", move |socket, event| Reply::Now(join(&room_of, socket, event)))
        .on_raw("say", move |_, event| Reply::Now(say(&members_of, event)))
}

fn join(namespace: &Namespace, socket: &Arc<Socket>, event: &Event<'_>) -> Outcome {
    match event.args.first().and_then(|arg| serde_json::from_str::<String>(arg.get()).ok()) {
        Some(room) => {
            namespace.join(socket, &[&room]);
            Outcome::Ack(Args::default())
        }
        None => Outcome::Refused(Refusal::invalid("room", "expected a string")),
    }
}

fn say(namespace: &Namespace, event: &Event<'_>) -> Outcome {
    let Some(json) = event.args.first() else { return Outcome::Refused(Refusal::invalid("payload", "required")) };
    match serde_json::from_str::<Say<'_>>(json.get()) {
        Ok(say) => {
            namespace.to(&say.room).emit_raw("said", &[say.data.get()], event.attachments);
            Outcome::Ack(Args::default())
        }
        Err(error) => Outcome::Refused(Refusal::invalid("payload", &error.to_string())),
    }
}

/// The auth object of a CONNECT packet.
#[derive(Deserialize)]
struct Auth {
    token: String,
}

/// Lets everybody in, or those with a token, and greets with the auth object.
struct Gate {
    jwt_secret: Option<String>,
}

impl Gate {
    fn check(&self, request: &ConnectRequest) -> Result<(), ConnectError> {
        let Some(secret) = &self.jwt_secret else { return Ok(()) };
        let refused = |message: &str| ConnectError {
            message: format!("Unauthorized - {message}"),
            data: None,
            code: ErrorCode::Unauthorized,
        };
        let token = if let Some(auth) = &request.auth {
            decode_json::<Auth>(auth).ok().map(|auth| auth.token)
        } else {
            let queries = request.query.as_deref().into_iter().chain([&*request.handshake.query]);
            queries
                .flat_map(|query| form_urlencoded::parse(query.as_bytes()))
                .find(|(name, _)| name == "token")
                .map(|(_, value)| value.into_owned())
        };
        let token = token.ok_or_else(|| refused("No token"))?;
        let key = jsonwebtoken::DecodingKey::from_secret(secret.as_bytes());
        let validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
        jsonwebtoken::decode::<serde_json::Value>(&token, &key, &validation)
            .map(|_| ())
            .map_err(|error| refused(&error.to_string()))
    }
}

impl Middleware for Gate {
    fn connect(&self, request: ConnectRequest) -> Connecting {
        let admission = self.check(&request).map(|()| Admission {
            socket_id: request.socket_id,
            data: Arc::new(request.auth.unwrap_or_else(|| "{}".to_owned())),
            user: None,
        });
        Box::pin(std::future::ready(admission))
    }

    fn join(&self, _: &Arc<Socket>) -> Result<(), ConnectError> {
        Ok(())
    }

    fn connected(&self, socket: &Arc<Socket>, _: &Handshake) {
        if let Some(auth) = socket.data::<String>() {
            socket.emit_raw("auth", &[auth], &[]);
        }
    }

    fn disconnected(&self, _: &Arc<Socket>, _: &str) {}
}

// ---- Engine.IO -----------------------------------------------------------------------------------------------------------

struct RawEcho;

struct RawClient {
    session: Arc<Session>,
}

impl Application for RawEcho {
    type Connection = RawClient;

    fn open(&self, session: Arc<Session>, _: Handshake) -> RawClient {
        RawClient { session }
    }
}

impl Connection for RawClient {
    fn handle_text(&mut self, text: &str) -> Result<(), CloseReason> {
        self.session.send(&[Outgoing::from_packet(&Packet::Text(text.into()))]);
        Ok(())
    }

    fn handle_binary(&mut self, data: &[u8]) -> Result<(), CloseReason> {
        self.session.send(&[Outgoing::from_packet(&Packet::Binary(data.into()))]);
        Ok(())
    }
}
