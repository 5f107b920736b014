//! Socket.IO packets as text: events out, events and acks in. By hand, since the load generator has to be
//! cheaper than any server.

use anyhow::{Context, Result, bail, ensure};

use crate::{frame, net::Outbox};

/// What a server sends in a namespace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// The answer to the event with this ack id; the arguments as a JSON array.
    Ack(u64, &'a [u8]),
    /// An event without an ack id: name and arguments as a JSON array.
    Event(&'a [u8]),
}

/// Reads a packet of the default namespace.
#[inline]
pub(crate) fn parse(packet: &[u8]) -> Result<Packet<'_>> {
    match packet {
        [b'2', event @ ..] => Ok(Packet::Event(event)),
        [b'3', rest @ ..] => {
            let (id, arguments) = split_number(rest);
            Ok(Packet::Ack(id, arguments))
        }
        other => bail!("neither an event nor an ack: {}", String::from_utf8_lossy(other)),
    }
}

/// The number at the front, and what follows it.
#[inline]
pub(crate) fn split_number(text: &[u8]) -> (u64, &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    (number.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')), rest)
}

/// Sends an event that asks for ack `id`; `event` is the JSON array of name and arguments, in parts.
#[inline]
pub(crate) fn emit<const N: usize>(out: &mut Outbox, client: usize, id: u64, event: [&[u8]; N]) {
    let mut digits = itoa::Buffer::new();
    let mut parts: [&[u8]; 8] = [b""; 8];
    parts[0] = b"42";
    parts[1] = digits.format(id).as_bytes();
    const { assert!(N <= 6, "an event of at most six parts") };
    parts[2..2 + N].copy_from_slice(&event);
    frame::push_text(out.of(client), &parts[..2 + N]);
}

/// The event every server of the echo fixture sends on connect; it is no answer to anything.
pub(crate) fn is_greeting(event: &[u8]) -> bool {
    event.starts_with(br#"["auth""#)
}

/// Fails on an acknowledgement without `ok: true`.
pub(crate) fn ensure_ok(arguments: &[u8]) -> Result<()> {
    if arguments.starts_with(br#"[{"ok":true"#) {
        return Ok(());
    }
    let value: serde_json::Value = serde_json::from_slice(arguments).context("an acknowledgement")?;
    ensure!(value[0]["ok"] == true, "refused: {value}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_has_an_id_and_arguments() -> Result<()> {
        assert_eq!(parse(br#"3120[{"a":1}]"#)?, Packet::Ack(120, br#"[{"a":1}]"#));
        Ok(())
    }

    #[test]
    fn a_refusal_is_an_error_wherever_its_ok_stands() {
        assert!(ensure_ok(br#"[{"code":"forbidden","ok":false}]"#).is_err());
        assert!(ensure_ok(br#"[{"id":"x","ok":true}]"#).is_ok());
    }
}
