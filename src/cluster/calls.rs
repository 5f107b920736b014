//! Requests of one node to another over HTTP: what proves that they are, and which node a session belongs to.
//!
//! A request carries one header: when it was made, a number that is used once, for which client it is made, and a proof over all of
//! that, the method, the path with its query, and the node that is called. The body is not covered: the network between the nodes is
//! to be one's own, as that to Redis.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngExt as _;

use super::nodes::NodeKey;
use crate::{clock::Timestamp, setting::Secret};

/// The header of a request that a node makes.
pub const CALL_HEADER: &str = "hobnob-call";
/// Characters of a tag.
pub const TAG_CHARS: usize = 6;

/// The first part of the header: how the rest is to be read.
const VERSION: &str = "1";
/// How far the clocks of two nodes may be apart, with the way from one to the other.
const MAX_SKEW_MS: u64 = 30_000;
/// Most numbers of [`Calls::check_once`] that are remembered; more requests within the time are refused.
const MAX_SEEN: usize = 1024;

/// The requests of this node to others, and of others to this one.
pub struct Calls {
    key: NodeKey,
    tags: NodeKey,
    node: String,
    /// Numbers that have been used, and when.
    seen: Mutex<HashMap<u128, i64>>,
}

/// A request that another node has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The client on whose behalf.
    pub client: Option<IpAddr>,
    number: u128,
    made: i64,
}

impl Calls {
    /// Those of the node `node`, among nodes that know `secret`.
    #[must_use]
    pub fn new(secret: &Secret, node: &str) -> Self {
        let (key, tags) = (NodeKey::new(secret, "calls"), NodeKey::new(secret, "tags"));
        Self { key, tags, node: node.to_owned(), seen: Mutex::default() }
    }

    /// What the ids of a node's sessions end with. It says nothing to whoever does not know the secret.
    #[must_use]
    pub fn tag(&self, node: &str) -> String {
        let mut tag = URL_SAFE_NO_PAD.encode(self.tags.prove(node.as_bytes()));
        tag.truncate(TAG_CHARS);
        tag
    }

    /// What the ids of this node's sessions end with.
    #[must_use]
    pub fn own_tag(&self) -> String {
        self.tag(&self.node)
    }

    /// The header of a request to the node `to`, on behalf of `client`.
    #[must_use]
    pub fn sign(&self, to: &str, method: &str, path: &str, client: Option<IpAddr>) -> String {
        let (made, number) = (Timestamp::now().as_millis(), rand::rng().random::<u128>());
        let client = client.map_or_else(|| "-".to_owned(), |client| client.to_string());
        let proof = self.key.prove(&signed(to, method, path, (made, number, &client)));
        format!("{VERSION} {made} {number:032x} {client} {}", URL_SAFE_NO_PAD.encode(proof))
    }

    /// Whether `header` came with a request of another node to this one, made just now.
    #[must_use]
    pub fn check(&self, header: &str, method: &str, path: &str) -> Option<Call> {
        let mut parts = header.split(' ');
        let (version, made, number) = (parts.next()?, parts.next()?, parts.next()?);
        let (client, proof) = (parts.next()?, parts.next()?);
        let made: i64 = made.parse().ok()?;
        let number = u128::from_str_radix(number, 16).ok()?;
        let proof = URL_SAFE_NO_PAD.decode(proof).ok()?;
        let is_proved = self.key.is_proved(&signed(&self.node, method, path, (made, number, client)), &proof);
        let is_fresh = made.abs_diff(Timestamp::now().as_millis()) <= MAX_SKEW_MS;
        if version != VERSION || !is_proved || !is_fresh {
            return None;
        }
        let client = if client == "-" { None } else { Some(client.parse().ok()?) };
        Some(Call { client, number, made })
    }

    /// The same for a request that must not be made a second time by whoever has listened.
    #[must_use]
    pub fn check_once(&self, header: &str, method: &str, path: &str) -> Option<Call> {
        let call = self.check(header, method, path)?;
        let now = Timestamp::now().as_millis();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, made| made.abs_diff(now) <= MAX_SKEW_MS);
        let is_new = seen.len() < MAX_SEEN && seen.insert(call.number, call.made).is_none();
        is_new.then_some(call)
    }
}

/// What is proved. None of the parts has a line break.
fn signed(to: &str, method: &str, path: &str, (made, number, client): (i64, u128, &str)) -> Vec<u8> {
    format!("{to}\n{method}\n{path}\n{made}\n{number:032x}\n{client}").into_bytes()
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("node", &self.node).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/socket.io/?EIO=4&sid=x";

    fn node(name: &str) -> Calls {
        Calls::new(&Secret::new("correct horse battery staple, and more"), name)
    }

    #[test]
    fn a_request_of_a_node_proves_itself_to_the_one_that_is_called_and_tells_for_whom_it_is() {
        let client: IpAddr = "2001:db8::1".parse().expect("an address");
        let header = node("a").sign("b", "GET", PATH, Some(client));
        assert_eq!(node("b").check(&header, "GET", PATH).expect("proved").client, Some(client));
        let header = node("a").sign("b", "GET", PATH, None);
        assert_eq!(node("b").check(&header, "GET", PATH).expect("proved").client, None);
    }

    #[test]
    fn what_was_signed_counts_for_nothing_else() {
        let header = node("a").sign("b", "GET", PATH, None);
        assert_eq!(node("c").check(&header, "GET", PATH), None, "another node");
        assert_eq!(node("b").check(&header, "POST", PATH), None, "another method");
        assert_eq!(node("b").check(&header, "GET", "/socket.io/?EIO=4&sid=y"), None, "another path");
        let stranger = Calls::new(&Secret::new("another secret of the same length"), "b");
        assert_eq!(stranger.check(&header, "GET", PATH), None, "another cluster");
        assert_eq!(node("b").check(&header.replace(" - ", " 127.0.0.1 "), "GET", PATH), None, "another client");
        for bad in ["", "1", "1 2 3 4 5", "1 x 00 - AAAA", &header[..header.len() - 1], &header.replacen('1', "2", 1)] {
            assert_eq!(node("b").check(bad, "GET", PATH), None, "{bad}");
        }
    }

    #[test]
    fn an_old_request_and_one_from_the_future_are_refused() {
        let (sender, receiver) = (node("a"), node("b"));
        for (off, is_taken) in [(-40_000, false), (-10_000, true), (10_000, true), (40_000, false)] {
            let made = Timestamp::now().as_millis() + off;
            let proof = sender.key.prove(&signed("b", "GET", PATH, (made, 7, "-")));
            let header = format!("1 {made} 7 - {}", URL_SAFE_NO_PAD.encode(proof));
            assert_eq!(receiver.check(&header, "GET", PATH).is_some(), is_taken, "{off}");
        }
    }

    #[test]
    fn a_request_that_counts_once_does_not_count_twice() {
        let (sender, receiver) = (node("a"), node("b"));
        let header = sender.sign("b", "GET", PATH, None);
        assert!(receiver.check_once(&header, "GET", PATH).is_some());
        assert!(receiver.check_once(&header, "GET", PATH).is_none());
        for _ in 1..MAX_SEEN {
            assert!(receiver.check_once(&sender.sign("b", "GET", PATH, None), "GET", PATH).is_some());
        }
        assert!(receiver.check_once(&sender.sign("b", "GET", PATH, None), "GET", PATH).is_none(), "too many");
    }

    #[test]
    fn all_nodes_know_the_tag_of_each_and_nobody_else_does() {
        assert_eq!(node("a").tag("b"), node("b").own_tag());
        assert_ne!(node("a").own_tag(), node("b").own_tag());
        assert_eq!(node("a").own_tag().len(), TAG_CHARS);
        assert_ne!(Calls::new(&Secret::new("another secret of the same length"), "a").own_tag(), node("a").own_tag());
    }
}
