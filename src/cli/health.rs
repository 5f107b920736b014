//! `hobnob health`.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use clap::Args;

use super::{SettingsArgs, output};
use crate::app::exit::{ExitCode, ExitError};

/// Time to connect, and time to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 65_536;

const PATH: &str = "/readyz";

/// Ends with 0 when the server is ready, else with 1, and prints its answer.
#[derive(Debug, Args)]
pub(super) struct Health {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Address of the server [default: from the settings]
    #[arg(long, value_name = "http://HOST:PORT")]
    url: Option<String>,
}

impl Health {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let (host, addresses) = if let Some(url) = &self.url {
            resolve(url)?
        } else {
            let listen = reachable(self.settings.load(None).map_err(ExitError::from)?.server.listen);
            (listen.to_string(), vec![listen])
        };
        let answer = ask(&addresses, &host).map_err(|error| not_ready(format!("no answer from {host}: {error}")))?;
        let (status, body) = parse(&answer).ok_or_else(|| not_ready(format!("{host} does not speak HTTP")))?;
        let seen = format!("{host}{PATH}: {status} {}", printable(&body));
        if status == 200 { output::print(&format!("{seen}\n")) } else { Err(not_ready(seen).into()) }
    }
}

/// Health checks of containers know 0 and 1 only.
const fn not_ready(message: String) -> ExitError {
    ExitError { code: 1, message }
}

/// Where to connect for a server that listens on `listen`.
const fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The text without what would move the cursor of a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Host (for the header) and addresses of a URL.
fn resolve(url: &str) -> Result<(String, Vec<SocketAddr>), ExitError> {
    let wrong = || ExitError::new(ExitCode::Usage, format!("--url: expected http://HOST:PORT, found {url:?}"));
    let host = url.strip_prefix("http://").ok_or_else(wrong)?;
    let host = host
        .split('/')
        .next()
        .filter(|host| !host.is_empty() && !host.contains(['\r', '\n', '@']))
        .ok_or_else(wrong)?;
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let with_port = if has_port { host.to_owned() } else { format!("{host}:80") };
    let addresses =
        with_port.to_socket_addrs().map_err(|error| not_ready(format!("cannot resolve {host}: {error}")))?;
    Ok((host.to_owned(), addresses.collect()))
}

fn ask(addresses: &[SocketAddr], host: &str) -> io::Result<Vec<u8>> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(address, TIMEOUT) {
            Ok(stream) => return exchange(&stream, host),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn exchange(mut stream: &TcpStream, host: &str) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Status and body of an answer that ends with the connection.
fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let answer = String::from_utf8_lossy(answer);
    let status = answer.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some((status, body.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_interfaces_is_asked_on_the_loopback_one() {
        let reachable = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(reachable("0.0.0.0:4000"), "127.0.0.1:4000");
        assert_eq!(reachable("[::]:4000"), "[::1]:4000");
        assert_eq!(reachable("192.0.2.1:80"), "192.0.2.1:80");
    }

    #[test]
    fn only_plain_http_urls_are_asked() {
        let (host, addresses) = resolve("http://127.0.0.1:4000/ignored").expect("a URL");
        assert_eq!((host.as_str(), addresses), ("127.0.0.1:4000", vec!["127.0.0.1:4000".parse().expect("an address")]));
        assert_eq!(resolve("http://127.0.0.1").expect("a URL").1, ["127.0.0.1:80".parse().expect("an address")]);
        for url in ["", "127.0.0.1:4000", "https://127.0.0.1", "http://", "http:///x"] {
            assert_eq!(resolve(url).expect_err("no URL").code, 64, "{url}");
        }
    }

    #[test]
    fn status_and_body_are_taken_from_the_answer() {
        assert_eq!(parse(b"HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nno\n"), Some((503, "no".to_owned())));
        assert_eq!(parse(b"SSH-2.0-OpenSSH\r\n\r\n"), None);
        assert_eq!(parse(b""), None);
    }
}
