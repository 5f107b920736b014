//! One Engine.IO packet in its text and its binary form.

use std::borrow::Cow;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{DecodeError, Version};

/// Marks a text packet as base64 of a binary message.
const BASE64: char = 'b';

/// The type of a message as a byte in front of version 3 binary data: the value 4, not the digit.
const BINARY_MESSAGE: u8 = 4;

/// Base64 as browsers write it. Some older clients leave the padding out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One packet. What the data of [`Text`](Self::Text) means is Socket.IO's business.
///
/// Spec: Engine.IO v3 and v4, "Packet encoding".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The handshake, JSON from the server.
    Open(Cow<'a, str>),
    /// The peer ends the session.
    Close,
    /// A heartbeat to be answered by a pong with the same data; `probe` while upgrading.
    Ping(Cow<'a, str>),
    /// The answer to a ping.
    Pong(Cow<'a, str>),
    /// A text message.
    Text(Cow<'a, str>),
    /// A binary message. It may be empty: clients do send empty buffers.
    Binary(Cow<'a, [u8]>),
    /// The client has switched to the probed transport.
    Upgrade,
    /// Nothing; releases a waiting GET.
    Noop,
}

impl<'a> Packet<'a> {
    /// Reads the text form: one WebSocket text frame, or one packet of a text payload.
    ///
    /// Binary messages come as `b` and base64 (version 4) or `b4` and base64 (version 3). Data after a type that has none
    /// is ignored, as other servers do. The caller bounds the size.
    ///
    /// Spec: Engine.IO v3 and v4, "Packet encoding".
    ///
    /// # Errors
    ///
    /// [`Empty`](DecodeError::Empty), [`UnknownType`](DecodeError::UnknownType) or [`Base64`](DecodeError::Base64).
    pub fn decode_text(version: Version, text: &'a str) -> Result<Self, DecodeError> {
        let mut rest = text.chars();
        let kind = rest.next().ok_or(DecodeError::Empty)?;
        let data = rest.as_str();
        match kind {
            '0' => Ok(Self::Open(data.into())),
            '1' => Ok(Self::Close),
            '2' => Ok(Self::Ping(data.into())),
            '3' => Ok(Self::Pong(data.into())),
            '4' => Ok(Self::Text(data.into())),
            '5' => Ok(Self::Upgrade),
            '6' => Ok(Self::Noop),
            BASE64 => {
                let base64 = match version {
                    Version::V3 => data.strip_prefix('4').ok_or(DecodeError::UnknownType)?,
                    Version::V4 => data,
                };
                let data = LENIENT.decode(base64).map_err(|_| DecodeError::Base64)?;
                Ok(Self::Binary(data.into()))
            }
            _ => Err(DecodeError::UnknownType),
        }
    }

    /// Reads one WebSocket binary frame: bare data in version 4, in version 3 data behind a byte of value 4.
    ///
    /// Spec: Engine.IO v3 and v4, "Packet encoding".
    ///
    /// # Errors
    ///
    /// Version 3 only: [`Empty`](DecodeError::Empty) without the byte, [`UnknownType`](DecodeError::UnknownType) when it
    /// is another one.
    pub fn decode_binary(version: Version, data: &'a [u8]) -> Result<Self, DecodeError> {
        match version {
            Version::V4 => Ok(Self::Binary(data.into())),
            Version::V3 => match data.split_first() {
                Some((&BINARY_MESSAGE, data)) => Ok(Self::Binary(data.into())),
                Some(_) => Err(DecodeError::UnknownType),
                None => Err(DecodeError::Empty),
            },
        }
    }

    /// Appends the text form, with a binary message as base64.
    pub fn encode_text(&self, version: Version, out: &mut Vec<u8>) {
        let (kind, data): (u8, &str) = match self {
            Self::Open(data) => (b'0', data),
            Self::Close => (b'1', ""),
            Self::Ping(data) => (b'2', data),
            Self::Pong(data) => (b'3', data),
            Self::Text(data) => (b'4', data),
            Self::Upgrade => (b'5', ""),
            Self::Noop => (b'6', ""),
            Self::Binary(data) => {
                out.extend_from_slice(match version {
                    Version::V3 => b"b4",
                    Version::V4 => b"b",
                });
                out.extend_from_slice(LENIENT.encode(data).as_bytes());
                return;
            }
        };
        out.push(kind);
        out.extend_from_slice(data.as_bytes());
    }

    /// Appends a binary message as one WebSocket binary frame, the inverse of [`decode_binary`](Self::decode_binary).
    pub fn encode_binary(version: Version, data: &[u8], out: &mut Vec<u8>) {
        if version == Version::V3 {
            out.push(BINARY_MESSAGE);
        }
        out.extend_from_slice(data);
    }

    /// The same packet, independent of the buffer it was read from.
    pub fn into_owned(self) -> Packet<'static> {
        match self {
            Self::Open(data) => Packet::Open(Cow::Owned(data.into_owned())),
            Self::Close => Packet::Close,
            Self::Ping(data) => Packet::Ping(Cow::Owned(data.into_owned())),
            Self::Pong(data) => Packet::Pong(Cow::Owned(data.into_owned())),
            Self::Text(data) => Packet::Text(Cow::Owned(data.into_owned())),
            Self::Binary(data) => Packet::Binary(Cow::Owned(data.into_owned())),
            Self::Upgrade => Packet::Upgrade,
            Self::Noop => Packet::Noop,
        }
    }
}
