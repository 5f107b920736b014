//! Users with tokens and conversations between them.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use crate::{
    client::Load,
    net::Outbox,
    packet::{self, Packet},
};

const TOKEN_SECONDS: u64 = 3600;

/// A token for each of so many users.
pub(super) fn tokens(users: usize, secret: &str) -> Result<Vec<String>> {
    (0..users).map(|user| sign(user, secret)).collect()
}

/// Asks for conversation number `conversation`, by `creator` and with `others`.
pub(super) fn create(out: &mut Outbox, creator: usize, conversation: usize, others: &[usize]) {
    let participants: Vec<String> = others.iter().copied().map(user_id).collect();
    let event = json!(["conversation:create", {
        "type": "group", "name": format!("Room {conversation}"), "participants": participants,
    }]);
    packet::emit(out, creator, conversation as u64, [event.to_string().as_bytes()]);
}

fn user_id(user: usize) -> String {
    format!("user-{user}")
}

/// A JSON Web Token for `user`, HS256.
fn sign(user: usize, secret: &str) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = json!({ "id": user_id(user), "iat": now, "exp": now + TOKEN_SECONDS }).to_string();
    let [header, claims] = [r#"{"alg":"HS256","typ":"JWT"}"#, &claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(format!("{header}.{claims}").as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    Ok(format!("{header}.{claims}.{signature}"))
}

/// Collects the ids of the conversations, in the order they were asked for.
#[derive(Debug)]
pub(super) struct Setup {
    /// Empty where it does not exist yet.
    pub(super) conversations: Vec<String>,
    created: usize,
}

impl Setup {
    /// For so many conversations.
    pub(super) fn new(conversations: usize) -> Self {
        Self { conversations: vec![String::new(); conversations], created: 0 }
    }

    /// Whether all exist.
    pub(super) fn is_done(&self) -> bool {
        self.created == self.conversations.len()
    }
}

impl Load for Setup {
    fn on_ready(&mut self, _id: usize, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }

    fn on_packet(&mut self, _id: usize, packet: &[u8], _now: Instant, _out: &mut Outbox) -> Result<()> {
        if let Packet::Ack(index, arguments) = packet::parse(packet)? {
            packet::ensure_ok(arguments)?;
            let answer: serde_json::Value = serde_json::from_slice(arguments)?;
            let id = answer[0]["conversation"]["id"].as_str().context("an ack without conversation.id")?;
            id.clone_into(&mut self.conversations[usize::try_from(index)?]);
            self.created += 1;
        }
        Ok(())
    }
}
