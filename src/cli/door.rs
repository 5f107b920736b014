//! The way of the commands to what they are about: the server's Unix socket, or the database itself when no server runs.

use std::{
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use clap::Args;
use futures_util::future::join;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{runtime::Runtime, time::timeout};
use tower::ServiceExt as _;

use super::{SettingsArgs, output};
use crate::app::{
    door::{Database, SYSTEM_SOCKET, open_database, socket_in},
    exit::{ExitCode, ExitError},
};

/// Names the socket, as `--socket` does.
const VARIABLE: &str = "HOBNOB_SOCKET";
const SOCKET_HELP: &str = "Unix socket of the server [default: $HOBNOB_SOCKET, else hobnob.sock in the data directory, else \
     /run/hobnob/hobnob.sock]";
/// Time for one answer of the server.
const TIMEOUT: Duration = Duration::from_secs(70);
/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// The end of a command that was refused for what it asks: nothing of this name, somebody was faster.
const REFUSED: u8 = 1;

/// Which server, and how to print what it says.
#[derive(Debug, Args)]
pub(super) struct DoorArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[arg(long, value_name = "FILE", help = SOCKET_HELP)]
    socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// The server, or its database.
pub(super) struct Door {
    runtime: Runtime,
    way: Way,
    json: bool,
}

enum Way {
    Server(PathBuf),
    Database(Database, PathBuf),
}

/// What is behind the name of a socket.
enum Knock {
    Server,
    Nobody,
    /// It may not be looked at.
    Denied(io::Error),
}

impl DoorArgs {
    /// The server, or the database if none runs.
    pub(super) fn open(self) -> Result<Door, ExitError> {
        self.find(false)
    }

    /// The server, which has to run.
    pub(super) fn open_server(self) -> Result<Door, ExitError> {
        self.find(true)
    }

    fn find(self, needs_server: bool) -> Result<Door, ExitError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| ExitError::from_io(ExitCode::Software, "cannot start a runtime", &error))?;
        let json = self.json;
        // The store of a database is opened, used and closed within the runtime.
        let way = runtime.block_on(async { self.way(needs_server) })?;
        Ok(Door { runtime, way, json })
    }

    fn way(self, needs_server: bool) -> Result<Way, ExitError> {
        if let Some(named) = self.socket.or_else(|| std::env::var_os(VARIABLE).map(PathBuf::from))
            && !named.as_os_str().is_empty()
        {
            return match knock(&named)? {
                Knock::Server => Ok(Way::Server(named)),
                Knock::Denied(error) => Err(denied(&named, &error)),
                Knock::Nobody => {
                    let message = format!("no server listens at {}", named.display());
                    Err(ExitError::new(ExitCode::Unavailable, message))
                }
            };
        }
        let config = self.settings.load(None).map_err(ExitError::from)?;
        let own = socket_in(&config.storage.dir);
        let found = knock(&own)?;
        if matches!(found, Knock::Server) {
            return Ok(Way::Server(own));
        }
        let failed = if needs_server {
            let message = format!("no server is running: nobody listens at {}, nor at {SYSTEM_SOCKET}", own.display());
            ExitError::new(ExitCode::Unavailable, message)
        } else {
            match open_database(&config) {
                Ok(database) => return Ok(Way::Database(database, config.storage.dir.clone())),
                Err(error) => error,
            }
        };
        // Only now: a database that is here and free is what was meant, not the one of the machine's service.
        let system = Path::new(SYSTEM_SOCKET);
        match (knock(system)?, found) {
            (Knock::Server, _) => Ok(Way::Server(system.to_owned())),
            (Knock::Denied(error), _) => Err(denied(system, &error)),
            (Knock::Nobody, Knock::Denied(error)) => Err(denied(&own, &error)),
            (Knock::Nobody, Knock::Nobody | Knock::Server) if failed.code == ExitCode::Unavailable as u8 => {
                let hint = "name the server's settings with --config or --data-dir, or its socket with --socket";
                Err(ExitError { message: format!("{}; {hint}", failed.message), ..failed })
            }
            (Knock::Nobody, Knock::Nobody | Knock::Server) => Err(failed),
        }
    }
}

fn knock(path: &Path) -> Result<Knock, ExitError> {
    match UnixStream::connect(path) {
        Ok(_) => Ok(Knock::Server),
        Err(error) => match error.kind() {
            io::ErrorKind::PermissionDenied => Ok(Knock::Denied(error)),
            // A path that is too long for a socket is an invalid input; no server can be there.
            io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidInput => Ok(Knock::Nobody),
            _ => Err(no_answer(path, &error)),
        },
    }
}

fn denied(path: &Path, error: &io::Error) -> ExitError {
    let hint = "run this as root, as the user of the server, or as a member of its group";
    ExitError::new(ExitCode::Permission, format!("cannot open {}: {error}; {hint}", path.display()))
}

fn no_answer(path: &Path, why: &dyn std::fmt::Display) -> ExitError {
    ExitError::new(ExitCode::Unavailable, format!("the server at {} does not answer: {why}", path.display()))
}

impl Door {
    /// What this is about, for questions.
    pub(super) fn place(&self) -> String {
        match &self.way {
            Way::Server(path) => format!("the server at {}", path.display()),
            Way::Database(_, dir) => format!("the database in {}", dir.display()),
        }
    }

    /// Asks for something; parameters without a value are left out.
    pub(super) fn get(&self, path: &str, query: &[(&str, Option<String>)]) -> Result<Value, ExitError> {
        let mut parameters = form_urlencoded::Serializer::new(String::new());
        for (name, value) in query {
            if let Some(value) = value {
                parameters.append_pair(name, value);
            }
        }
        self.request(Method::GET, &format!("{path}?{}", parameters.finish()), "")
    }

    /// Changes something.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, ExitError> {
        self.request(Method::POST, path, &body.to_string())
    }

    /// Prints an answer: as it is with `--json`, else as `text` has it.
    pub(super) fn print(&self, answer: &Value, text: impl FnOnce(&Value) -> String) -> anyhow::Result<()> {
        output::print(&if self.json { output::json(answer) } else { text(answer) })
    }

    fn request(&self, method: Method, uri: &str, body: &str) -> Result<Value, ExitError> {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::HOST, "hobnob")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .map_err(|error| ExitError::new(ExitCode::Software, error.to_string()))?;
        let (status, body) = self.runtime.block_on(async {
            match &self.way {
                Way::Server(path) => match timeout(TIMEOUT, over_socket(path, request)).await {
                    Ok(answer) => answer.map_err(|error| no_answer(path, &error)),
                    Err(_) => Err(no_answer(path, &"it takes too long")),
                },
                Way::Database(database, _) => {
                    let Ok(answer) = database.router.clone().oneshot(request).await;
                    let (head, body) = answer.into_parts();
                    let body = body.collect().await;
                    body.map(|body| (head.status, body.to_bytes()))
                        .map_err(|error| ExitError::new(ExitCode::Software, error.to_string()))
                }
            }
        })?;
        read(status, &body)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Way::Database(database, _) = &self.way {
            self.runtime.block_on(database.store.close());
        }
    }
}

/// One request on a connection of its own.
async fn over_socket(path: &Path, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), anyhow::Error> {
    let stream = tokio::net::UnixStream::connect(path).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(anyhow::Error::from_boxed)?;
        Ok((head.status, body.to_bytes()))
    };
    // The connection ends when the exchange has let go of it; its own error shows in the exchange.
    join(exchange, connection).await.0
}

/// The answer, or why there is none.
fn read(status: StatusCode, body: &[u8]) -> Result<Value, ExitError> {
    let answer: Option<Value> = serde_json::from_slice(body).ok();
    if let Some(answer) = answer.as_ref().filter(|_| status.is_success()) {
        return Ok(answer.clone());
    }
    let Some(error) = answer.as_ref().and_then(|answer| answer.get("error")?.as_str()) else {
        let message = format!("the server does not know this request ({status}): it may be of another version");
        return Err(ExitError::new(ExitCode::Unavailable, message));
    };
    let code = match status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => ExitCode::Usage as u8,
        StatusCode::SERVICE_UNAVAILABLE => ExitCode::Unavailable as u8,
        StatusCode::INSUFFICIENT_STORAGE => ExitCode::Io as u8,
        status if status.is_server_error() => ExitCode::Software as u8,
        _ => REFUSED,
    };
    Err(ExitError { code, message: output::escape(error) })
}
