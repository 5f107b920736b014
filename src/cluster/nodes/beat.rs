//! What nodes say to each other, and the proof that it is one of them.

use std::sync::Arc;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    setting::Secret,
    storage::replicated::{Epoch, Place},
};

/// The version of beats.
pub(super) const VERSION: u8 = 1;
/// Most users in one beat.
pub(super) const MAX_LISTED: usize = 2000;
/// Largest sealed message that is looked at.
const MAX_BYTES: usize = 1024 * 1024;
/// Bytes of the proof in front of a message.
const TAG_BYTES: usize = 32;

/// One heartbeat. Fields may be added: older nodes pass over them, and newer ones do without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beat {
    #[serde(rename = "v")]
    pub(super) version: u8,
    pub(super) node: String,
    #[serde(rename = "inc")]
    pub(super) incarnation: u64,
    /// Rises by one from beat to beat.
    pub(super) seq: u64,
    #[serde(default)]
    pub(super) url: Option<String>,
    #[serde(rename = "pos", default)]
    pub(super) position: Option<(Epoch, Place)>,
    /// The node stops.
    #[serde(default)]
    pub(super) bye: bool,
    pub(super) users: Listed,
}

/// The users of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Listed {
    /// Those of the beat before.
    Same,
    /// The same but for these.
    Changes { on: Vec<Arc<str>>, off: Vec<Arc<str>> },
    /// All of them, in so many parts.
    All { part: u32, parts: u32, users: Vec<Arc<str>> },
}

/// The secret of the cluster, for one purpose. What is proved for one counts for no other.
pub struct NodeKey(hmac::Key);

impl NodeKey {
    /// The key for `purpose`.
    #[must_use]
    pub fn new(secret: &Secret, purpose: &str) -> Self {
        let secret = hmac::Key::new(HMAC_SHA256, secret.as_bytes());
        let derived = hmac::sign(&secret, format!("hobnob:{purpose}:1").as_bytes());
        Self(hmac::Key::new(HMAC_SHA256, derived.as_ref()))
    }

    /// The proof for `message`.
    #[must_use]
    pub fn prove(&self, message: &[u8]) -> Vec<u8> {
        hmac::sign(&self.0, message).as_ref().to_vec()
    }

    /// Whether `proof` is one for `message`. Takes as long whatever is wrong with it.
    #[must_use]
    pub fn is_proved(&self, message: &[u8], proof: &[u8]) -> bool {
        hmac::verify(&self.0, message, proof).is_ok()
    }

    pub(super) fn seal<T: Serialize>(&self, value: &T) -> Vec<u8> {
        // Texts, numbers and lists: there is no error to lose.
        let body = rmp_serde::to_vec_named(value).unwrap_or_default();
        let mut sealed = self.prove(&body);
        sealed.extend_from_slice(&body);
        sealed
    }

    pub(super) fn open<T: DeserializeOwned>(&self, sealed: &[u8]) -> Option<T> {
        let (proof, body) = sealed.split_at_checked(TAG_BYTES).filter(|_| sealed.len() <= MAX_BYTES)?;
        // Only what one of the cluster has written is read.
        if !self.is_proved(body, proof) {
            return None;
        }
        rmp_serde::from_slice(body).ok()
    }
}
