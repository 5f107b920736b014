//! The messages of `@socket.io/redis-adapter` 8 and `@socket.io/redis-emitter` 5: bytes to values and back.
//!
//! Whoever can write to Redis can write these, so what comes is taken to be hostile: see [`decode_broadcast`] and
//! [`decode_request`]. A broadcast is `[uid, packet, opts]` in MessagePack; a request is JSON, or MessagePack where it may hold
//! binary data. Socket.IO servers pass over what they do not know in `opts`, which is where Hobnob's nodes put [`MARK`].

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::msgpack::{self, Malformed};

/// Largest message that is looked at, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Most rooms of one message: addressed, left out, joined, or left.
pub(super) const MAX_ROOMS: usize = 10_000;
/// Longest name of a room in bytes.
pub(super) const MAX_ROOM_BYTES: usize = 1024;

/// The key in `opts` by which a node says that the other nodes of the cluster tell this event themselves, from their log.
const MARK: &str = "hobnob";
/// Its value: the version of what it means.
const MARK_VERSION: u64 = 1;

/// The packet types of Socket.IO that carry events.
const EVENT: u64 = 2;
const BINARY_EVENT: u64 = 5;

/// The types of requests and answers.
const SOCKETS: u64 = 0;
const ALL_ROOMS: u64 = 1;
const JOIN: u64 = 2;
const LEAVE: u64 = 3;
const DISCONNECT: u64 = 4;
const FETCH: u64 = 5;
const SERVER_SIDE_EMIT: u64 = 6;
const BROADCAST: u64 = 7;
const CLIENT_COUNT: u64 = 8;
const CLIENT_ACK: u64 = 9;

/// Whom something concerns. Without rooms: the whole namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Address {
    /// Any of these rooms.
    pub(super) rooms: Vec<String>,
    /// None of these rooms.
    pub(super) except: Vec<String>,
}

/// An event for many sockets, as it came.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Broadcast {
    pub(super) uid: String,
    pub(super) namespace: String,
    pub(super) event: String,
    /// JSON texts.
    pub(super) args: Vec<String>,
    pub(super) attachments: Vec<Bytes>,
    pub(super) to: Address,
    pub(super) volatile: bool,
    /// Nodes of the cluster pass it over.
    pub(super) from_log: bool,
    /// How long clients have for an ack, in milliseconds, where one is wanted.
    pub(super) timeout_ms: Option<f64>,
}

/// What another server wants.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    /// `None` from an emitter.
    pub(super) uid: Option<String>,
    /// `None` when no answer is wanted.
    pub(super) id: Option<String>,
    pub(super) kind: RequestKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum RequestKind {
    /// The ids of sockets.
    Sockets(Address),
    /// All rooms that there are.
    AllRooms,
    Join(Address, Vec<String>),
    Leave(Address, Vec<String>),
    Disconnect(Address, bool),
    /// Sockets with their rooms.
    Fetch(Address),
    /// An event for servers: its name.
    ServerSideEmit(String),
    /// An event that clients answer.
    Broadcast(Box<Broadcast>),
}

/// A broadcast on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) namespace: &'a str,
    pub(super) event: &'a str,
    pub(super) args: &'a [String],
    pub(super) attachments: &'a [Bytes],
    pub(super) to: &'a Address,
    pub(super) volatile: bool,
    pub(super) from_log: bool,
}

/// Writes a broadcast.
///
/// # Errors
///
/// When an argument is no JSON.
pub(super) fn encode_broadcast(uid: &str, broadcast: &Outgoing<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let Outgoing { namespace, event, args, attachments, to, volatile, from_log } = *broadcast;
    let bytes = args.iter().map(String::len).chain(attachments.iter().map(Bytes::len)).sum::<usize>();
    let mut out = Vec::with_capacity(bytes.saturating_add(256));
    msgpack::write_array(&mut out, 3);
    msgpack::write_text(&mut out, uid);
    msgpack::write_map(&mut out, 3);
    msgpack::write_text(&mut out, "type");
    msgpack::write_number(&mut out, EVENT);
    msgpack::write_text(&mut out, "data");
    msgpack::write_array(&mut out, args.len().saturating_add(1));
    msgpack::write_text(&mut out, event);
    for arg in args {
        msgpack::write_json(&mut out, arg, attachments)?;
    }
    msgpack::write_text(&mut out, "nsp");
    msgpack::write_text(&mut out, namespace);
    msgpack::write_map(&mut out, if from_log { 4 } else { 3 });
    for (name, rooms) in [("rooms", &to.rooms), ("except", &to.except)] {
        msgpack::write_text(&mut out, name);
        msgpack::write_array(&mut out, rooms.len());
        for room in rooms {
            msgpack::write_text(&mut out, room);
        }
    }
    msgpack::write_text(&mut out, "flags");
    msgpack::write_map(&mut out, usize::from(volatile));
    if volatile {
        msgpack::write_text(&mut out, "volatile");
        msgpack::write_bool(&mut out, true);
    }
    if from_log {
        msgpack::write_text(&mut out, MARK);
        msgpack::write_number(&mut out, MARK_VERSION);
    }
    Ok(out)
}

/// Reads a broadcast.
///
/// # Errors
///
/// When it is none; never does more than a few copies of it.
pub(super) fn decode_broadcast(bytes: &[u8]) -> Result<Broadcast, Malformed> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(Malformed::TooLarge);
    }
    let (json, attachments) = msgpack::to_json(bytes)?;
    let (uid, packet, opts): (String, RawPacket<'_>, RawOpts) = parse(&json)?;
    broadcast(uid, packet, opts, attachments)
}

fn broadcast(
    uid: String,
    packet: RawPacket<'_>,
    opts: RawOpts,
    attachments: Vec<Bytes>,
) -> Result<Broadcast, Malformed> {
    let (name, args) = packet.data.split_first().ok_or(Malformed::Shape)?;
    if !matches!(packet.kind.unwrap_or(EVENT), EVENT | BINARY_EVENT) {
        return Err(Malformed::Shape);
    }
    Ok(Broadcast {
        uid,
        namespace: packet.nsp.map_or_else(|| "/".to_owned(), Cow::into_owned),
        event: parse(name.get())?,
        args: args.iter().map(|arg| arg.get().to_owned()).collect(),
        attachments,
        volatile: opts.flags.volatile,
        from_log: opts.hobnob.is_some(),
        timeout_ms: opts.flags.timeout,
        to: opts.address()?,
    })
}

/// Reads a request.
///
/// # Errors
///
/// When it is none, or of a type that is not known.
pub(super) fn decode_request(bytes: &[u8]) -> Result<Request, Malformed> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(Malformed::TooLarge);
    }
    let (json, attachments) = match bytes {
        [b'{', ..] => {
            let text = std::str::from_utf8(bytes).map_err(|_| Malformed::Kind)?;
            (Cow::Borrowed(text), Vec::new())
        }
        _ => msgpack::to_json(bytes).map(|(json, attachments)| (Cow::Owned(json), attachments))?,
    };
    let RawRequest { kind, uid, request_id, opts, rooms, sid, room, close, data, packet } = parse(&json)?;
    let opts_or_sid = |opts: Option<RawOpts>| match (opts, sid) {
        (Some(opts), _) => opts.address(),
        // What older versions send for a single socket, whose id is a room of its own.
        (None, Some(sid)) => RawOpts { rooms: vec![sid], ..RawOpts::default() }.address(),
        (None, None) => Err(Malformed::Shape),
    };
    let kind = match kind {
        SOCKETS => RequestKind::Sockets(RawOpts { rooms, ..RawOpts::default() }.address()?),
        ALL_ROOMS => RequestKind::AllRooms,
        JOIN => RequestKind::Join(opts_or_sid(opts)?, names(rooms.into_iter().chain(room))?),
        LEAVE => RequestKind::Leave(opts_or_sid(opts)?, names(rooms.into_iter().chain(room))?),
        DISCONNECT => RequestKind::Disconnect(opts_or_sid(opts)?, close),
        FETCH => RequestKind::Fetch(opts.unwrap_or_default().address()?),
        SERVER_SIDE_EMIT => {
            let name = data.first().ok_or(Malformed::Shape)?;
            RequestKind::ServerSideEmit(parse(name.get())?)
        }
        BROADCAST => {
            let packet = packet.ok_or(Malformed::Shape)?;
            let from = uid.clone().unwrap_or_default();
            RequestKind::Broadcast(Box::new(broadcast(from, packet, opts.unwrap_or_default(), attachments)?))
        }
        _ => return Err(Malformed::Shape),
    };
    Ok(Request { uid, id: request_id, kind })
}

/// Writes a request without an answer.
pub(super) fn encode_request(uid: &str, kind: &RequestKind) -> String {
    let request = match kind {
        RequestKind::Join(to, rooms) => OutgoingRequest { rooms: Some(rooms), ..OutgoingRequest::new(uid, JOIN, to) },
        RequestKind::Leave(to, rooms) => OutgoingRequest { rooms: Some(rooms), ..OutgoingRequest::new(uid, LEAVE, to) },
        RequestKind::Disconnect(to, close) => {
            OutgoingRequest { close: Some(*close), ..OutgoingRequest::new(uid, DISCONNECT, to) }
        }
        RequestKind::Sockets(_)
        | RequestKind::AllRooms
        | RequestKind::Fetch(_)
        | RequestKind::ServerSideEmit(_)
        | RequestKind::Broadcast(_) => return String::new(),
    };
    to_json(&request)
}

/// The answer that lists the ids of sockets.
pub(super) fn answer_sockets(id: &str, sockets: &[String]) -> String {
    to_json(&Answer { sockets: Some(sockets), ..Answer::to(id) })
}

/// The answer that lists all rooms.
pub(super) fn answer_rooms(id: &str, rooms: &[String]) -> String {
    to_json(&Answer { rooms: Some(rooms), ..Answer::to(id) })
}

/// The answer that shows sockets.
pub(super) fn answer_fetch<S: Serialize>(id: &str, sockets: &[S]) -> String {
    to_json(&FetchAnswer { request_id: id, sockets })
}

/// The answer that says that it is done.
pub(super) fn answer_done(id: &str) -> String {
    to_json(&Answer::to(id))
}

/// The answer to an event for servers: nobody here has anything to say to it.
pub(super) fn answer_server_side_emit(id: &str) -> String {
    to_json(&ServerSideAnswer { kind: SERVER_SIDE_EMIT, request_id: id, data: () })
}

/// How many clients are asked.
pub(super) fn answer_client_count(id: &str, clients: usize) -> String {
    to_json(&Answer { kind: Some(CLIENT_COUNT), client_count: Some(clients), ..Answer::to(id) })
}

/// What a client has answered: its first argument.
///
/// # Errors
///
/// When that is no JSON.
pub(super) fn answer_client_ack(
    id: &str,
    value: Option<&str>,
    attachments: &[Bytes],
) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::new();
    msgpack::write_map(&mut out, 3);
    msgpack::write_text(&mut out, "type");
    msgpack::write_number(&mut out, CLIENT_ACK);
    msgpack::write_text(&mut out, "requestId");
    msgpack::write_text(&mut out, id);
    msgpack::write_text(&mut out, "packet");
    msgpack::write_json(&mut out, value.unwrap_or("null"), attachments)?;
    Ok(out)
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Malformed> {
    serde_json::from_str(json).map_err(|_| Malformed::Shape)
}

fn to_json<T: Serialize>(value: &T) -> String {
    // Texts and numbers only: there is no error to lose.
    serde_json::to_string(value).unwrap_or_default()
}

fn names(rooms: impl IntoIterator<Item = RawRoom>) -> Result<Vec<String>, Malformed> {
    let mut names = Vec::new();
    for RawRoom(room) in rooms {
        if names.len() >= MAX_ROOMS || room.len() > MAX_ROOM_BYTES {
            return Err(Malformed::TooLarge);
        }
        names.push(room);
    }
    Ok(names)
}

/// The name of a room. In JavaScript it may be a number.
#[derive(Debug)]
struct RawRoom(String);

impl<'de> Deserialize<'de> for RawRoom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Number(serde_json::Number),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Number(number) => number.to_string(),
        }))
    }
}

#[derive(Deserialize)]
struct RawPacket<'a> {
    #[serde(rename = "type")]
    kind: Option<u64>,
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    #[serde(borrow)]
    nsp: Option<Cow<'a, str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawOpts {
    #[serde(deserialize_with = "or_nothing")]
    rooms: Vec<RawRoom>,
    #[serde(deserialize_with = "or_nothing")]
    except: Vec<RawRoom>,
    #[serde(deserialize_with = "or_nothing")]
    flags: RawFlags,
    hobnob: Option<u64>,
}

impl RawOpts {
    fn address(self) -> Result<Address, Malformed> {
        Ok(Address { rooms: names(self.rooms)?, except: names(self.except)? })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawFlags {
    #[serde(deserialize_with = "or_nothing")]
    volatile: bool,
    timeout: Option<f64>,
}

/// `null` and `undefined` are as good as nothing.
fn or_nothing<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRequest<'a> {
    #[serde(rename = "type")]
    kind: u64,
    uid: Option<String>,
    request_id: Option<String>,
    opts: Option<RawOpts>,
    #[serde(default, deserialize_with = "or_nothing")]
    rooms: Vec<RawRoom>,
    sid: Option<RawRoom>,
    room: Option<RawRoom>,
    #[serde(default, deserialize_with = "or_nothing")]
    close: bool,
    #[serde(borrow, default)]
    data: Vec<&'a RawValue>,
    #[serde(borrow)]
    packet: Option<RawPacket<'a>>,
}

#[derive(Serialize)]
struct OutgoingRequest<'a> {
    uid: &'a str,
    #[serde(rename = "type")]
    kind: u64,
    opts: OutgoingOpts<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<bool>,
}

#[derive(Serialize)]
struct OutgoingOpts<'a> {
    rooms: &'a [String],
    except: &'a [String],
}

impl<'a> OutgoingRequest<'a> {
    fn new(uid: &'a str, kind: u64, to: &'a Address) -> Self {
        Self { uid, kind, opts: OutgoingOpts { rooms: &to.rooms, except: &to.except }, rooms: None, close: None }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<u64>,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_count: Option<usize>,
}

impl<'a> Answer<'a> {
    fn to(request_id: &'a str) -> Self {
        Self { kind: None, request_id, sockets: None, rooms: None, client_count: None }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FetchAnswer<'a, S> {
    request_id: &'a str,
    sockets: &'a [S],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerSideAnswer<'a> {
    #[serde(rename = "type")]
    kind: u64,
    request_id: &'a str,
    data: (),
}
