//! Packets of clients with `socket.io-msgpack-parser`: one binary message each, a map of `type`, `nsp`, `data` and `id` in MessagePack,
//! with binary data where it belongs.
//!
//! Nothing above knows of it. What comes is turned into the form that all packets have here, JSON text with attachments beside it, and
//! what goes is written in that form first, which clients of both kinds share, and then recoded. What the two forms cannot both
//! say becomes what `JSON.stringify` makes of it: a date its ISO text, infinity and NaN `null`, a field that is `undefined` nothing.
//! Integers beyond 2^53 stay exact; a program in JavaScript rounds them, in either form.
//!
//! With revision 4 (versions 2.x of the parser) binary are events and acks alone; CONNECT, DISCONNECT and ERROR are the same map as
//! JSON text.
//!
//! Spec: MessagePack; the source of `socket.io-msgpack-parser` and `notepack.io`.

mod read;
mod write;

use bytes::Bytes;
use serde::Deserialize;

use self::read::Reader;
use super::{
    Assembled, DecodeError, Limits, Packet, PacketType, Revision, json,
    packet::{self, Header},
    placeholders,
};

const CONNECT: u64 = 0;
const DISCONNECT: u64 = 1;
const EVENT: u64 = 2;
const ACK: u64 = 3;
/// From servers alone.
const CONNECT_ERROR: u64 = 4;
const BINARY_EVENT: u64 = 5;
const BINARY_ACK: u64 = 6;

/// Reads a packet.
///
/// It costs at most six times the bytes of `data`, whatever lengths those declare.
///
/// # Errors
///
/// As [`decode`](super::decode), and [`Msgpack`](DecodeError::Msgpack) for what is no map with these fields, repeats one of them, or
/// goes on behind its end.
pub fn decode(revision: Revision, data: &[u8], limits: &Limits) -> Result<Assembled, DecodeError> {
    let mut reader = Reader::new(data, limits);
    let (mut kind, mut namespace, mut payload, mut id) = (None, None, None, None);
    for _ in 0..reader.map()? {
        match reader.key()? {
            "type" => once(&mut kind, reader.number()?)?,
            "nsp" => once(&mut namespace, reader.text()?)?,
            "id" => once(&mut id, reader.optional_id()?)?,
            "data" => once(&mut payload, reader.optional_json()?)?,
            // `options` and the like are the client's own business.
            _ => reader.skip()?,
        }
    }
    let attachments = reader.finish()?;
    let payload = payload.flatten().unwrap_or_default();
    let kind = kind.and_then(packet_type).ok_or(DecodeError::UnknownType)?;
    if !attachments.is_empty() {
        if !matches!(kind, PacketType::Event | PacketType::Ack) {
            return Err(DecodeError::Attachments);
        }
        if !placeholders::all_have_attachments(&payload, attachments.len()) {
            return Err(DecodeError::Placeholder);
        }
    }
    let namespace = namespace.ok_or(DecodeError::Msgpack)?;
    let header = Header::of(revision, kind, namespace, id.flatten(), &payload, limits)?;
    let mut assembled = Assembled::of(&named(header.into_packet(limits)?)?);
    assembled.attachments = attachments;
    Ok(assembled)
}

/// Reads one of the packets that clients of revision 4 write as JSON: CONNECT and DISCONNECT.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_control<'a>(text: &'a str, limits: &Limits) -> Result<Packet<'a>, DecodeError> {
    #[derive(Deserialize)]
    struct Control<'a> {
        r#type: u64,
        // Names of namespaces have no escapes.
        #[serde(borrow)]
        nsp: &'a str,
    }
    if json::is_deeper_than(limits.depth, text) {
        return Err(DecodeError::Depth);
    }
    let Control { r#type, nsp } = serde_json::from_str(text).map_err(|_| DecodeError::Payload)?;
    let kind = packet_type(r#type).filter(|kind| matches!(kind, PacketType::Connect | PacketType::Disconnect));
    let header = Header::of(Revision::V4, kind.ok_or(DecodeError::UnknownType)?, nsp, None, "", limits)?;
    named(header.into_packet(limits)?)
}

/// Recodes a packet that this server has written, with its attachments. It is the same in both revisions, but see [`encode_control`].
#[must_use]
pub fn encode(text: &str, attachments: &[Bytes]) -> Vec<u8> {
    let (packet, number) = split(text);
    let attached = attachments.iter().fold(0, |sum: usize, data| sum.saturating_add(data.len()));
    let mut out = Vec::with_capacity(text.len().saturating_add(attached).saturating_add(32));
    let fields = [true, true, packet.id.is_some(), !packet.payload.is_empty()];
    write::map(&mut out, fields.into_iter().filter(|is_there| *is_there).count());
    write::text(&mut out, "type");
    write::unsigned(&mut out, number);
    write::text(&mut out, "nsp");
    write::text(&mut out, packet.namespace);
    if let Some(id) = packet.id {
        write::text(&mut out, "id");
        write::unsigned(&mut out, id);
    }
    if !packet.payload.is_empty() {
        write::text(&mut out, "data");
        write::json(&mut out, packet.payload, attachments);
    }
    out
}

/// Recodes a packet for revision 4, if it is one of those that are JSON there: all but events and acks.
#[must_use]
pub fn encode_control(text: &str) -> Option<String> {
    let (packet, number) = split(text);
    if matches!(number, EVENT | ACK) {
        return None;
    }
    let mut out = format!(r#"{{"type":{number},"nsp":"#).into_bytes();
    json::write(&mut out, packet.namespace);
    if !packet.payload.is_empty() {
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(packet.payload.as_bytes());
    }
    out.push(b'}');
    String::from_utf8(out).ok()
}

/// Takes a packet apart, and gives the number of its type here.
fn split(text: &str) -> (packet::Written<'_>, u64) {
    let packet = packet::Written::split(text);
    let number = match packet.kind {
        PacketType::Connect => CONNECT,
        PacketType::Disconnect => DISCONNECT,
        PacketType::Event | PacketType::BinaryEvent => EVENT,
        PacketType::Ack | PacketType::BinaryAck => ACK,
        PacketType::ConnectError => CONNECT_ERROR,
    };
    (packet, number)
}

/// Whether this may be a packet: a map. No attachment of a JSON client comes unannounced, so this is asked of a first message alone.
pub(super) fn is_map(data: &[u8]) -> bool {
    matches!(data.first(), Some(0x80..=0x8f | 0xde | 0xdf))
}

/// Clients 2.x still tell events with binary data from those without.
fn packet_type(number: u64) -> Option<PacketType> {
    match number {
        CONNECT => Some(PacketType::Connect),
        DISCONNECT => Some(PacketType::Disconnect),
        EVENT | BINARY_EVENT => Some(PacketType::Event),
        ACK | BINARY_ACK => Some(PacketType::Ack),
        _ => None,
    }
}

/// Everything above relies on what the text form can say.
fn named(packet: Packet<'_>) -> Result<Packet<'_>, DecodeError> {
    let is_name = packet.namespace.starts_with('/') && !packet.namespace.contains(',');
    if is_name { Ok(packet) } else { Err(DecodeError::Namespace) }
}

fn once<T>(field: &mut Option<T>, value: T) -> Result<(), DecodeError> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(DecodeError::Msgpack),
    }
}
