//! One Socket.IO packet: read as clients send it, written as they expect it.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{DecodeError, Limits, Revision, json};

/// Most arguments of one event or ack. Ours, the protocol has no such limit: a megabyte of `1,1,1` must not buy many
/// megabytes of pointers.
pub const MAX_ARGUMENTS: usize = 256;

/// Largest ack id: JavaScript counts exactly up to here.
pub const MAX_ID: u64 = (1 << 53) - 1;

/// The namespace that is meant when a packet names none.
const MAIN_NAMESPACE: &str = "/";

/// Names that client libraries raise themselves. A peer that sends one is trying to fake them.
const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// The type of a packet, one digit on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// Joins a namespace, or confirms it.
    Connect,
    /// Leaves a namespace.
    Disconnect,
    /// A name and arguments.
    Event,
    /// The answer to an event with an id.
    Ack,
    /// Refuses to let a client join (ERROR in revision 4). Servers only.
    ConnectError,
    /// An event whose attachments follow.
    BinaryEvent,
    /// An ack whose attachments follow.
    BinaryAck,
}

impl PacketType {
    /// The type that `digit` stands for.
    pub const fn from_digit(digit: u8) -> Option<Self> {
        match digit {
            b'0' => Some(Self::Connect),
            b'1' => Some(Self::Disconnect),
            b'2' => Some(Self::Event),
            b'3' => Some(Self::Ack),
            b'4' => Some(Self::ConnectError),
            b'5' => Some(Self::BinaryEvent),
            b'6' => Some(Self::BinaryAck),
            _ => None,
        }
    }

    /// The digit on the wire, as ASCII.
    pub const fn digit(self) -> u8 {
        match self {
            Self::Connect => b'0',
            Self::Disconnect => b'1',
            Self::Event => b'2',
            Self::Ack => b'3',
            Self::ConnectError => b'4',
            Self::BinaryEvent => b'5',
            Self::BinaryAck => b'6',
        }
    }
}

/// A packet of a client, borrowed from the message it came in.
#[derive(Clone, Debug)]
pub struct Packet<'a> {
    /// The namespace with its slash; `/` when the packet names none.
    pub namespace: &'a str,
    /// What follows the `?` of a namespace in revision 4, where it carries the auth data. `None` in revision 5.
    pub query: Option<&'a str>,
    /// The id an ack answers, or the id an event wants answered; at most [`MAX_ID`]. Meaningless for the other types.
    pub id: Option<u64>,
    /// What the packet says.
    pub body: Body<'a>,
}

/// What a packet says, by its type.
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// Asks to join the namespace, with a JSON object of auth data or without.
    Connect(Option<&'a RawValue>),
    /// Leaves the namespace.
    Disconnect,
    /// An event.
    Event {
        /// Never one that the libraries raise themselves; a number is kept as its text.
        name: Cow<'a, str>,
        /// At most [`MAX_ARGUMENTS`] JSON values.
        args: Vec<&'a RawValue>,
    },
    /// The arguments of an ack, at most [`MAX_ARGUMENTS`]. The packet has an id.
    Ack(Vec<&'a RawValue>),
}

/// Reads a packet of a client that has no attachments; with attachments see [`Decoder`](super::Decoder).
///
/// Spec: Socket.IO protocol v4 and v5, "Packet encoding".
///
/// # Errors
///
/// Everything that no client library sends: `CONNECT_ERROR`, reserved event names, an ack without id, text behind JSON.
pub fn decode<'a>(revision: Revision, text: &'a str, limits: &Limits) -> Result<Packet<'a>, DecodeError> {
    let header = Header::decode(revision, text, limits)?;
    if header.attachments > 0 {
        return Err(DecodeError::Attachments);
    }
    header.into_packet(limits)
}

/// Appends an event for a client: `args` are raw JSON texts, `attachments` of them or inside them are placeholders.
///
/// Spec: Socket.IO protocol v4 and v5, "Packet encoding".
pub fn encode_event(
    out: &mut Vec<u8>,
    namespace: &str,
    id: Option<u64>,
    attachments: usize,
    name: &str,
    args: &[&str],
) {
    let kind = if attachments > 0 { PacketType::BinaryEvent } else { PacketType::Event };
    encode_header(out, kind, attachments, namespace, id);
    out.push(b'[');
    json::write(out, name);
    for arg in args {
        out.push(b',');
        out.extend_from_slice(arg.as_bytes());
    }
    out.push(b']');
}

/// Appends the answer to an event with `id`: `args` are raw JSON texts, `attachments` as in [`encode_event`].
///
/// Spec: Socket.IO protocol v4 and v5, "Packet encoding".
pub fn encode_ack(out: &mut Vec<u8>, namespace: &str, id: u64, attachments: usize, args: &[&str]) {
    let kind = if attachments > 0 { PacketType::BinaryAck } else { PacketType::Ack };
    encode_header(out, kind, attachments, namespace, Some(id));
    out.push(b'[');
    for (index, arg) in args.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(arg.as_bytes());
    }
    out.push(b']');
}

/// Appends the confirmation that the client has joined; revision 4 does not carry the socket id. With a `pid` the client may have its
/// session back by that.
///
/// Spec: Socket.IO protocol v4 and v5, "Connection to a namespace".
pub fn encode_connect(out: &mut Vec<u8>, revision: Revision, namespace: &str, sid: &str, pid: Option<&str>) {
    encode_header(out, PacketType::Connect, 0, namespace, None);
    match revision {
        Revision::V4 => {}
        Revision::V5 => {
            out.extend_from_slice(br#"{"sid":"#);
            json::write(out, sid);
            if let Some(pid) = pid {
                out.extend_from_slice(br#","pid":"#);
                json::write(out, pid);
            }
            out.push(b'}');
        }
    }
}

/// Appends the refusal to let a client join; `data` is raw JSON.
///
/// Revision 5 sends an object. Revision 4 sends the message alone, since clients show what they get as the error.
///
/// Spec: Socket.IO protocol v5, "Connection to a namespace"; v4, "Error".
pub fn encode_connect_error(out: &mut Vec<u8>, revision: Revision, namespace: &str, message: &str, data: Option<&str>) {
    encode_header(out, PacketType::ConnectError, 0, namespace, None);
    match revision {
        Revision::V4 => json::write(out, message),
        Revision::V5 => {
            out.extend_from_slice(br#"{"message":"#);
            json::write(out, message);
            if let Some(data) = data {
                out.extend_from_slice(br#","data":"#);
                out.extend_from_slice(data.as_bytes());
            }
            out.push(b'}');
        }
    }
}

/// Appends that the server has removed the client from the namespace.
///
/// Spec: Socket.IO protocol v4 and v5, "Disconnection from a namespace".
pub fn encode_disconnect(out: &mut Vec<u8>, namespace: &str) {
    encode_header(out, PacketType::Disconnect, 0, namespace, None);
}

/// What stands in front of the JSON.
pub(super) struct Header<'a> {
    kind: PacketType,
    /// More than 0 exactly for the binary types.
    pub(super) attachments: usize,
    namespace: &'a str,
    query: Option<&'a str>,
    id: Option<u64>,
    /// The JSON, not yet read.
    pub(super) payload: &'a str,
}

impl<'a> Header<'a> {
    /// Reads everything in front of the JSON, within the limits.
    pub(super) fn decode(revision: Revision, text: &'a str, limits: &Limits) -> Result<Self, DecodeError> {
        let kind = text.bytes().next().and_then(PacketType::from_digit).ok_or(DecodeError::UnknownType)?;
        let rest = text.get(1..).unwrap_or_default();
        let (attachments, rest) = match kind {
            PacketType::ConnectError => return Err(DecodeError::UnknownType),
            PacketType::BinaryEvent | PacketType::BinaryAck => split_attachments(rest, limits)?,
            PacketType::Connect | PacketType::Disconnect | PacketType::Event | PacketType::Ack => (0, rest),
        };
        let (namespace, rest) = split_namespace(rest);
        let (id, payload) = split_id(rest)?;
        Ok(Self { attachments, ..Self::of(revision, kind, namespace, id, payload, limits)? })
    }

    /// Puts one together, without attachments.
    pub(super) fn of(
        revision: Revision,
        kind: PacketType,
        namespace: &'a str,
        id: Option<u64>,
        payload: &'a str,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let (namespace, query) = match revision {
            Revision::V4 => split_query(namespace),
            Revision::V5 => (namespace, None),
        };
        if namespace.len() > limits.namespace_bytes {
            return Err(DecodeError::Namespace);
        }
        Ok(Self { kind, attachments: 0, namespace, query, id, payload })
    }

    /// Reads the JSON.
    pub(super) fn into_packet(self, limits: &Limits) -> Result<Packet<'a>, DecodeError> {
        let Self { kind, namespace, query, id, payload, attachments: _ } = self;
        if json::is_deeper_than(limits.depth, payload) {
            return Err(DecodeError::Depth);
        }
        let body = match kind {
            PacketType::Connect if payload.is_empty() => Body::Connect(None),
            PacketType::Connect => Body::Connect(Some(json::object(payload).ok_or(DecodeError::Payload)?)),
            PacketType::Disconnect if payload.is_empty() => Body::Disconnect,
            PacketType::Disconnect => return Err(DecodeError::Payload),
            PacketType::Event | PacketType::BinaryEvent => {
                let array = json::split_array(payload, true).ok_or(DecodeError::Payload)?;
                let name = event_name(array.name.ok_or(DecodeError::EventName)?, limits)?;
                Body::Event { name, args: array.args }
            }
            PacketType::Ack | PacketType::BinaryAck if id.is_none() => return Err(DecodeError::Id),
            PacketType::Ack | PacketType::BinaryAck => {
                Body::Ack(json::split_array(payload, false).ok_or(DecodeError::Payload)?.args)
            }
            PacketType::ConnectError => return Err(DecodeError::UnknownType),
        };
        Ok(Packet { namespace, query, id, body })
    }
}

/// The parts of a packet that this server has written.
pub(super) struct Written<'a> {
    pub(super) kind: PacketType,
    pub(super) namespace: &'a str,
    pub(super) id: Option<u64>,
    pub(super) payload: &'a str,
}

impl<'a> Written<'a> {
    /// Takes it apart. The encoders above are right by construction, so nothing is checked.
    pub(super) fn split(text: &'a str) -> Self {
        let (digit, rest) = text.split_at_checked(1).unwrap_or_default();
        let kind = digit.bytes().next().and_then(PacketType::from_digit).unwrap_or(PacketType::Event);
        let rest = match kind {
            PacketType::BinaryEvent | PacketType::BinaryAck => rest.split_once('-').map_or("", |(_, rest)| rest),
            PacketType::Connect
            | PacketType::Disconnect
            | PacketType::Event
            | PacketType::Ack
            | PacketType::ConnectError => rest,
        };
        let (namespace, rest) = split_namespace(rest);
        let (id, payload) = split_id(rest).unwrap_or((None, rest));
        Self { kind, namespace, id, payload }
    }
}

fn split_namespace(text: &str) -> (&str, &str) {
    if text.starts_with('/') { text.split_once(',').unwrap_or((text, "")) } else { (MAIN_NAMESPACE, text) }
}

fn split_query(namespace: &str) -> (&str, Option<&str>) {
    namespace.split_once('?').map_or((namespace, None), |(namespace, query)| (namespace, Some(query)))
}

/// Splits off the number of attachments: decimal digits and a dash.
fn split_attachments<'a>(text: &'a str, limits: &Limits) -> Result<(usize, &'a str), DecodeError> {
    let (digits, rest) = split_digits(text);
    let rest = rest.strip_prefix('-').ok_or(DecodeError::Attachments)?;
    let count = digits.parse().map_err(|_| DecodeError::Attachments)?;
    if count == 0 || count > limits.attachments {
        return Err(DecodeError::Attachments);
    }
    Ok((count, rest))
}

/// Splits off the ack id, which is every digit in front of the JSON.
fn split_id(text: &str) -> Result<(Option<u64>, &str), DecodeError> {
    let (digits, rest) = split_digits(text);
    if digits.is_empty() {
        return Ok((None, rest));
    }
    let id = digits.parse().map_err(|_| DecodeError::Id)?;
    if id > MAX_ID { Err(DecodeError::Id) } else { Ok((Some(id), rest)) }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// The name of an event, whose first element must be a string or a number.
fn event_name<'a>(value: &'a RawValue, limits: &Limits) -> Result<Cow<'a, str>, DecodeError> {
    let text = value.get();
    let name: Cow<'a, str> = match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(name) if !name.contains('\\') => name.into(),
        Some(_) => serde_json::from_str::<String>(text).map_err(|_| DecodeError::EventName)?.into(),
        None if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => text.into(),
        None => return Err(DecodeError::EventName),
    };
    if name.len() > limits.event_name_bytes || RESERVED_EVENTS.contains(&&*name) {
        return Err(DecodeError::EventName);
    }
    Ok(name)
}

fn encode_header(out: &mut Vec<u8>, kind: PacketType, attachments: usize, namespace: &str, id: Option<u64>) {
    out.push(kind.digit());
    if attachments > 0 {
        json::write(out, &attachments);
        out.push(b'-');
    }
    if namespace != MAIN_NAMESPACE {
        out.extend_from_slice(namespace.as_bytes());
        out.push(b',');
    }
    if let Some(id) = id {
        json::write(out, &id);
    }
}
