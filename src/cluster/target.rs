//! Where Redis is: one server, or the master that sentinels know under a name.

use std::{fmt, time::Duration};

use percent_encoding::percent_decode_str;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion,
    RedisError, RedisResult, TlsMode,
    aio::MultiplexedConnection,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tokio::{sync::Mutex, time::timeout};

/// Time for a connection to be made.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The same by way of sentinels, of which each is asked in turn.
const SENTINEL_TIMEOUT: Duration = Duration::from_secs(5);
/// Where sentinels listen unless told otherwise.
const SENTINEL_PORT: u16 = 26_379;

/// Where Redis is. Its text names hosts, never how to log in.
pub(super) struct Target {
    place: Place,
    text: String,
}

enum Place {
    One(Box<Client>),
    Sentinels(Box<Mutex<SentinelClient>>),
}

/// Whether this is an address of a Redis, or of sentinels that know one.
#[must_use]
pub fn is_redis_url(url: &str) -> bool {
    Target::parse(url).is_ok()
}

impl Target {
    /// Reads an address.
    pub(super) fn parse(url: &str) -> RedisResult<Self> {
        match url.split_once("://") {
            Some(("redis-sentinel", rest)) => Self::sentinels(rest, false),
            Some(("rediss-sentinel", rest)) => Self::sentinels(rest, true),
            _ => Self::one(url),
        }
    }

    fn one(url: &str) -> RedisResult<Self> {
        let info: ConnectionInfo = url.into_connection_info()?;
        // Messages of subscriptions come beside the answers to commands, which version 2 does not allow.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_redis_settings(settings);
        let text = match info.addr() {
            ConnectionAddr::Tcp(host, port) => format!("{host}:{port}"),
            ConnectionAddr::TcpTls { host, port, .. } => format!("{host}:{port} (TLS)"),
            other => other.to_string(),
        };
        Ok(Self { place: Place::One(Box::new(Client::open(info)?)), text })
    }

    /// `[user:password@]host[:port],host[:port].../name[/db]`.
    fn sentinels(rest: &str, tls: bool) -> RedisResult<Self> {
        let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let mut parts = rest.split('/');
        let (hosts, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let db = parts.next().filter(|db| !db.is_empty()).map_or(Some(0), |db| db.parse().ok());
        let (Some(db), Some(addresses), false) = (db, addresses(hosts), name.is_empty()) else {
            return Err(RedisError::from((
                redis::ErrorKind::InvalidClientConfig,
                "expected redis-sentinel://host:port,host:port/name/db",
            )));
        };
        let mut builder = SentinelClientBuilder::new(addresses, decode(name), SentinelServerType::Master)?
            .set_client_to_redis_protocol(ProtocolVersion::RESP3)
            .set_client_to_redis_db(db);
        if tls {
            builder =
                builder.set_client_to_redis_tls_mode(TlsMode::Secure).set_client_to_sentinel_tls_mode(TlsMode::Secure);
        }
        if let Some((user, password)) = login.map(|login| login.split_once(':').unwrap_or(("", login))) {
            builder = builder.set_client_to_redis_password(decode(password));
            if !user.is_empty() {
                builder = builder.set_client_to_redis_username(decode(user));
            }
        }
        let text = format!("{} by {hosts}", decode(name));
        Ok(Self { place: Place::Sentinels(Box::new(Mutex::new(builder.build()?))), text })
    }

    /// A connection.
    pub(super) async fn connect(&self, config: &AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
        let connect = async {
            match &self.place {
                Place::One(client) => client.get_multiplexed_async_connection_with_config(config).await,
                Place::Sentinels(sentinels) => {
                    let client = sentinels.lock().await.async_get_client().await?;
                    client.get_multiplexed_async_connection_with_config(config).await
                }
            }
        };
        let patience = match self.place {
            Place::One(_) => CONNECT_TIMEOUT,
            Place::Sentinels(_) => SENTINEL_TIMEOUT,
        };
        timeout(patience, connect).await.unwrap_or_else(|_| Err(timed_out("no connection in time")))
    }
}

/// Something took too long.
pub(super) fn timed_out(what: &'static str) -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, what).into()
}

fn addresses(hosts: &str) -> Option<Vec<ConnectionAddr>> {
    hosts.split(',').map(address).collect()
}

fn address(host: &str) -> Option<ConnectionAddr> {
    let (host, port) = match host.rsplit_once(':') {
        // An IPv6 address stands in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (host, SENTINEL_PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| ConnectionAddr::Tcp(host.to_owned(), port))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_the_login() {
        for (url, shown) in [
            ("redis://:hunter2@localhost:7000/3", "localhost:7000"),
            ("redis://user:hunter2@10.0.0.1", "10.0.0.1:6379"),
            ("rediss://:hunter2@redis.example", "redis.example:6379 (TLS)"),
            ("redis-sentinel://:hunter2@a,b:7001,[::1]/main/2", "main by a,b:7001,[::1]"),
        ] {
            let target = Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(target.to_string(), shown);
        }
        assert!(
            Target::parse("unix:///run/redis.sock?db=1").is_ok_and(|target| target.to_string().contains("redis.sock"))
        );
    }

    #[test]
    fn other_addresses_are_refused() {
        for url in [
            "",
            "localhost",
            "http://localhost",
            "redis-sentinel://a",
            "redis-sentinel://a/main/x",
            "redis-sentinel:///main",
        ] {
            assert!(!is_redis_url(url), "{url}");
        }
    }
}
