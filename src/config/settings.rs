//! Every setting, declared once: its key, its environment names, what it accepts and what it means.
//!
//! The file, the environment, the flags, `config.example.toml` and the error messages are read from or printed from this
//! table; a test compares it with the `Config` structs.

use super::value::{
    Kind::{self, Limits, Listen, Switch},
    is_choice_of_format, is_confirm, is_filter, is_host, is_key_prefix, is_metrics_access, is_node_id, is_node_url,
    is_origin, is_path, is_proxy, is_redis_url, is_socketio_path, is_token_algorithm, is_transport, is_word,
};

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Section and key, as in `socketio.path`.
    pub(crate) key: &'static str,
    /// Names in the environment beside `HOBNOB_SECTION__KEY`.
    pub(crate) env: &'static [&'static str],
    /// What it accepts.
    pub(crate) kind: Kind,
    /// Whether it is never shown, and may be given as the name of a file.
    pub(crate) secret: bool,
    /// Whether something is signed with it, so that it must not be guessed.
    pub(crate) signs: bool,
    /// What it means, in one or two lines.
    pub(crate) help: &'static str,
}

impl Setting {
    /// The section.
    pub(crate) fn section(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(section, _)| section)
    }

    /// The key within its section.
    pub(crate) fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }

    /// `HOBNOB_SECTION__KEY`.
    pub(crate) fn variable(&self) -> String {
        variable(self.key)
    }

    /// What the secret is called among the credentials of systemd: as its key, where that says enough.
    pub(crate) fn credential(&self) -> String {
        match self.section() {
            "cluster" => self.key.replace('.', "_"),
            _ => self.name().to_owned(),
        }
    }

    /// The key that gives the name of a file with the secret in it.
    pub(crate) fn file_key(&self) -> Option<String> {
        self.secret.then(|| format!("{}_file", self.key))
    }
}

/// The variable of a key.
pub(crate) fn variable(key: &str) -> String {
    format!("HOBNOB_{}", key.replace('.', "__").to_uppercase())
}

const fn number(min: u64, max: u64) -> Kind {
    Kind::Number { min, max }
}

const fn text(expected: &'static str, accepts: fn(&str) -> bool) -> Kind {
    Kind::Text { expected, accepts }
}

const fn list(expected: &'static str, accepts: fn(&str) -> bool) -> Kind {
    Kind::List { expected, accepts }
}

macro_rules! settings {
    ($($key:literal $(($($env:literal),+))? $(#$secret:ident)? : $kind:expr, $help:literal;)*) => {
        /// All settings, section by section.
        pub(crate) static SETTINGS: &[Setting] = &[
            $(Setting {
                key: $key,
                env: &[$($($env),+)?],
                kind: $kind,
                secret: settings!(@ $($secret)?),
                signs: settings!(@signs $($secret)?),
                help: $help,
            },)*
        ];
    };
    (@) => { false };
    (@ secret) => { true };
    (@ login) => { true };
    (@signs) => { false };
    (@signs secret) => { true };
    (@signs login) => { false };
}

settings! {
    "server.listen" ("PORT"): Listen,
        "Address and port to listen on; 0.0.0.0 or [::] means all interfaces. A port alone keeps the address.";
    "server.client_origin" ("CLIENT_ORIGIN"): list("origins such as https://chat.example.org without a path, or *", is_origin),
        "Origins of the web pages that may call; * means any. Empty: pages of this machine while listening on loopback, else none.";
    "server.header_timeout_ms": number(100, 300_000),
        "Time for the headers of a request; a connection between two requests is closed after it, too.";
    "server.body_timeout_ms": number(100, 600_000),
        "Time for the body of a request.";
    "server.max_body_bytes": number(1_024, 100_000_000),
        "Largest body of a REST request.";
    "server.max_header_bytes": number(8_192, 1_048_576),
        "Largest request line and headers together.";
    "server.max_connections": number(1, 1_000_000),
        "Most connections at the same time; more wait until one has ended. At most 64 less than the process may have files open.";
    "server.memory_high_bytes": number(0, 1_099_511_627_776),
        "While the process uses more memory than this, new sessions are refused (503) and slow readers are cut off sooner.\n\
         0: four fifths of what it may use, which is the limit of its cgroup or the memory of the machine.";
    "server.shutdown_timeout_ms": number(0, 300_000),
        "Time to tell the clients, write what waits and close, after SIGTERM.";
    "server.trusted_proxies": list("addresses or networks such as 10.0.0.0/8", is_proxy),
        "Proxies in front of this server, by address or network. What they say about where a request comes from is believed.";
    "server.metrics": text("loopback, public or off", is_metrics_access),
        "Who may read /metrics: loopback: programs on this machine, not through a proxy; public: whoever reaches the server; or off.";

    "socketio.path": text("a path such as /socket.io/ that starts and ends with a slash", is_socketio_path),
        "Path of the Socket.IO endpoint.";
    "socketio.ping_interval_ms" ("SOCKET_PING_INTERVAL"): number(50, 3_600_000),
        "Time between two heartbeats.";
    "socketio.ping_timeout_ms" ("SOCKET_PING_TIMEOUT"): number(50, 3_600_000),
        "Time to answer a heartbeat before the client counts as lost.";
    "socketio.upgrade_timeout_ms": number(50, 600_000),
        "Time to finish an upgrade from polling to WebSocket.";
    "socketio.connect_timeout_ms": number(50, 600_000),
        "Time to join a first namespace: a client that has shown no token is cut off after it.";
    "socketio.max_http_buffer_bytes" ("SOCKET_MAX_BUFFER_SIZE"): number(1_024, 100_000_000),
        "Largest message, and largest polling body, of a signed-in client.";
    "socketio.unauthenticated_bytes": number(1_024, 100_000_000),
        "Largest message, and largest polling body, before the client has joined a namespace.";
    "socketio.allow_eio3": Switch,
        "Whether clients of Engine.IO 3 (socket.io-client 1.x and 2.x) may connect.";
    "socketio.transports": list("websocket, polling, or both", is_transport),
        "The transports offered.";
    "socketio.allow_upgrades": Switch,
        "Whether a session may move from polling to WebSocket.";
    "socketio.check_origin": Switch,
        "Whether handshakes that a page of a foreign origin causes are forbidden: see server.client_origin.";
    "socketio.outbox_packets": number(16, 1_000_000),
        "Most packets that wait for one client; at more it is cut off as too slow.";
    "socketio.outbox_bytes": number(65_536, 1_000_000_000),
        "Most bytes that wait for one client; at more it is cut off as too slow. Unless set, at least max_http_buffer_bytes.";
    "socketio.max_namespaces": number(1, 1_000),
        "Most namespaces that one session may join.";
    "socketio.in_flight_events": number(1, 10_000),
        "Most events of one session that are worked on at the same time; reading pauses until one is done.";
    "socketio.compression": Switch,
        "Whether messages over WebSocket (permessage-deflate, both ways) and polling answers (gzip) are compressed for clients that offer it.";
    "socketio.compression_threshold_bytes": number(0, 100_000_000),
        "Messages and polling answers of fewer bytes are sent as they are, and so is what compression would make larger.";
    "socketio.recovery_ms": number(0, 3_600_000),
        "How long a client may take up its session again after its connection was cut or the server was restarted (connection state\n\
         recovery of Socket.IO 4.6); 0: never. While it is on, clients 3.x and 4.x get one more string behind the arguments of events.";

    "storage.dir": text("a path", is_path),
        "The data directory. It is made, for the owner alone, when it does not exist. Flag: --data-dir";
    "storage.cache_bytes": number(1_048_576, 1_099_511_627_776),
        "Most bytes of the database that are kept in memory.";
    "storage.min_free_bytes": number(0, 1_099_511_627_776),
        "While less of the disk is free, writes are refused (storage_full) and reads go on. Unless set, at most 5 % of the disk; 0: never.";

    "auth.jwt_secret" ("JWT_SECRET") #secret: text("a text of at least 32 bytes", is_word),
        "The secret that HS256 tokens are signed with, at least 32 bytes: `openssl rand -base64 48` makes one.\n\
         Without one the server makes its own in the data directory at the first start.";
    "auth.previous_jwt_secrets" #secret: list("texts of at least 32 bytes", is_word),
        "Secrets that were in use before: tokens signed with them are accepted, too. In a file, one a line.";
    "auth.algorithm": text("HS256, RS256, RS384, RS512, ES256, ES384 or EdDSA", is_token_algorithm),
        "How tokens are signed; tokens that name another algorithm are refused.";
    "auth.public_keys": list("paths of PEM files", is_path),
        "PEM files with the public keys of the issuer, one in each; for every algorithm but HS256.";
    "auth.jwks_file": text("a path", is_path),
        "A file with the public keys of the issuer as a JWK set; for every algorithm but HS256.\n\
         When a token names a key that is not there, the file is read again if it has changed.";
    "auth.issuer": text("a text", is_word),
        "When set, tokens must carry this `iss`.";
    "auth.audience": list("texts", is_word),
        "When not empty, tokens must carry one of these as `aud`.";
    "auth.leeway_s": number(0, 300),
        "How far the clocks of the issuer and of this server may differ.";
    "auth.require_exp": Switch,
        "Whether tokens must carry `exp`.";
    "auth.auto_provision": Switch,
        "Whether an unknown user id in a valid token makes a user on the spot.";
    "auth.query_token": Switch,
        "Whether the query parameter `token` is looked at.";
    "auth.cookie_token": Switch,
        "Whether the cookie `token` is looked at; it counts only from an allowed origin.";
    "auth.max_token_bytes": number(256, 65_536),
        "Longest token.";

    "messages.max_content_chars": number(1, 1_000_000),
        "Longest text of a message, in characters.";
    "messages.client_id_retention_s": number(60, 31_536_000),
        "How long a message that is sent again with the same `clientId` is stored only once.";
    "messages.retention_s": number(0, 3_153_600_000),
        "How long messages are kept; 0: for ever. What is older goes from every conversation, with its reactions, pins and notifications;\n\
         clients that missed it are told that something is missing.";

    "missed_messages.max_page": number(1, 10_000),
        "Most messages and changes in one answer.";
    "missed_messages.max_page_bytes": number(4_096, 100_000_000),
        "Size at which an answer ends early.";

    "rate_limits.max" ("RATE_LIMIT_MAX"): number(0, 1_000_000),
        "Most events of one user within the window, over all sockets together; 0: no limit. Confirmations, typing and heartbeats have\n\
         buckets of their own with ten times as much.";
    "rate_limits.window_ms" ("RATE_LIMIT_WINDOW"): number(100, 86_400_000),
        "The window.";
    "rate_limits.rest_max": number(0, 1_000_000),
        "Most REST requests of one user within their window; 0: no limit.";
    "rate_limits.rest_window_ms": number(100, 86_400_000),
        "The window of REST requests.";
    "rate_limits.backend_max": number(0, 1_000_000),
        "Most REST requests with one key of the app's backend within their window; 0: no limit.";
    "rate_limits.backend_window_ms": number(100, 86_400_000),
        "The window of the backend's requests.";
    "rate_limits.address_max": number(0, 1_000_000),
        "Most handshakes and refused sign-ins from one address (IPv6: one /64) within their window; 0: no limit. A handshake counts only\n\
         until its user has signed in. Addresses of this machine are not counted.";
    "rate_limits.address_window_ms": number(100, 86_400_000),
        "The window of addresses.";
    "rate_limits.sessions_per_address": number(0, 1_000_000),
        "Most sessions from one address (IPv6: one /64) at a time; 0: no limit. Addresses of this machine are not counted.";
    "rate_limits.sockets_per_user": number(0, 1_000_000),
        "Most sockets of one user in one namespace at a time; 0: no limit.";
    "rate_limits.events": Limits,
        "Limits of single events, such as { \"message:send\" = { max = 10, window_ms = 1000 } }; max = 0: no limit. JSON in the environment.";
    "rate_limits.roles": Limits,
        "Limits of users with a role in place of the general one, such as { bot = { max = 300, window_ms = 10000 } }; with several roles the\n\
         largest. JSON in the environment.";

    "queue.expiry_s" ("MESSAGE_QUEUE_EXPIRY"): number(60, 31_536_000),
        "How long a message waits for a member who is away.";
    "queue.max_per_user": number(1, 10_000_000),
        "Most messages that wait for one user; the oldest go first, and the user is told how many.";

    "delivery.confirm": text("transport or explicit", is_confirm),
        "What confirms that a message has arrived: transport (an answer to a later ping, the next poll), or explicit: the events\n\
         message:delivered and message:read alone.";

    "locks.timeout_ms" ("LOCK_TIMEOUT"): number(1_000, 86_400_000),
        "How long a lock on a message holds unless it is renewed.";
    "locks.grace_ms": number(0, 3_600_000),
        "How long the lock of a user outlives the last of his sockets.";

    "notifications.read_retention_s": number(60, 31_536_000),
        "How long a notification is kept after it was read.";
    "notifications.max_per_user": number(1, 1_000_000),
        "Most notifications of one user; the oldest read ones go first, then the oldest.";

    "presence.offline_grace_ms": number(0, 3_600_000),
        "How long a user stays online after the last of his sockets has gone.";
    "presence.max_told_members": number(0, 2000),
        "In conversations with more members nobody is told who comes and goes and how they are; it is shown to whoever asks.";

    "typing.heartbeat_ms": number(100, 60_000),
        "A user's typing is told at most once within this time; clients repeat it as often.";
    "typing.expire_ms": number(200, 300_000),
        "Typing that is not repeated ends after this time.";

    "compat.legacy_events": Switch,
        "Whether events also go out under the names that older clients listen to.";

    "cluster.enabled" ("USE_REDIS"): Switch,
        "Whether this server is one of several that act as one, with Redis (6.0 or newer, or Valkey) between them.";
    "cluster.url" ("REDIS_URL") #login: text("a redis://, rediss:// (TLS), unix:// or redis-sentinel:// address", is_redis_url),
        "Where Redis is: redis://:password@host:6379/0, rediss:// for TLS, or redis-sentinel://host,host/name/0 for the master that\n\
         sentinels know under a name. Wins over host, port, password and db.";
    "cluster.host" ("REDIS_HOST"): text("a host name or an IP address", is_host),
        "Redis's host.";
    "cluster.port" ("REDIS_PORT"): number(1, 65_535),
        "Redis's port.";
    "cluster.password" ("REDIS_PASSWORD") #login: text("a text", is_word),
        "Redis's password.";
    "cluster.db" ("REDIS_DB"): number(0, 65_535),
        "The number of the database in Redis.";
    "cluster.prefix": text("1 to 64 letters, digits and . - _ : /", is_key_prefix),
        "What the names of this cluster's keys in Redis begin with. Clusters that share a Redis need different ones.";
    "cluster.socketio_key": text("1 to 64 letters, digits and . - _ : /", is_key_prefix),
        "What the names of the channels begin with on which Socket.IO servers on Node and emitters take part: `key` of @socket.io/redis-adapter.";
    "cluster.node_id": text("1 to 64 letters, digits and . - _", is_node_id),
        "The name of this node, another one on each. Unset: made at random and kept in the data directory.";
    "cluster.advertise_url": text("an address such as http://10.0.0.5:4000", is_node_url),
        "Where the other nodes reach this one. Unset: they cannot fetch anything from it.";
    "cluster.secret" #secret: text("a text of at least 32 bytes", is_word),
        "What the nodes prove to each other who they are with; the same on all. Unset: derived from auth.jwt_secret.";
    "cluster.lease_ms": number(2_000, 30_000),
        "A node that is silent for so long counts as gone: its users are offline and its locks end.";
    "cluster.log_entries": number(1_000, 100_000_000),
        "How many groups of changes Redis keeps, about. A node that was away for longer copies the database of another node.";
    "cluster.spool_max_bytes": number(0, 1_000_000_000_000),
        "Most bytes of messages that wait on this node's disk while Redis is away; more are refused until it is back.";
    "cluster.allow_volatile_redis": Switch,
        "Whether a Redis is used that keeps nothing over a restart, or drops keys when it is full (maxmemory-policy).";

    "log.filter": text("a level (error, warn, info, debug, trace), or levels such as info,hobnob::transport=debug", is_filter),
        "What is logged: a level (error, warn, info, debug, trace), or levels per module.";
    "log.format": text("auto, text or json", is_choice_of_format),
        "How lines look: text, json, or auto: text on a terminal and json otherwise.";
    "log.socket_events" ("SOCKET_LOGGING"): Switch,
        "Whether each connection and each event in and out is logged. Refusals are in any case, at most ten of a kind in a second.";
    "log.dir": text("a path", is_path),
        "Directory for a log file per day (UTC), hobnob.2026-11-24.log, beside the lines on standard error. Unset: no files.";
    "log.keep_days": number(1, 3_650),
        "How many log files are kept.";

}

/// The setting with this key.
pub(crate) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The secret whose file this key names.
pub(crate) fn find_by_file_key(key: &str) -> Option<&'static Setting> {
    let base = key.strip_suffix("_file")?;
    find(base).filter(|setting| setting.secret)
}

/// The sections in the order of the table.
pub(crate) fn sections() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    SETTINGS.iter().map(Setting::section).filter(move |section| std::mem::replace(&mut last, section) != *section)
}
