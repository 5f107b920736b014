//! Addresses as they are counted.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use super::bucket::Counts;

/// Bits of an IPv6 address that tell one customer from another; the rest he can choose at will.
const NETWORK_BITS: u32 = 64;

/// An IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network(IpAddr);

impl Network {
    /// The network of an address; `None` for this machine. What comes from there is its own, or comes through a proxy that
    /// `server.trusted_proxies` does not name: then all clients have the same address, and a limit would keep out everybody at once.
    pub(super) fn of(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return None;
        }
        Some(Self(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => {
                let mask = u128::MAX << (128 - NETWORK_BITS);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        }))
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => write!(f, "{address}/{NETWORK_BITS}"),
        }
    }
}

/// A session that is counted for its address as long as this lives.
pub(super) struct Counted {
    pub(super) sessions: Arc<Counts<Network>>,
    pub(super) network: Network,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.sessions.leave(&self.network);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Option<String> {
        Network::of(address.parse().expect("an address")).map(|network| network.to_string())
    }

    #[test]
    fn a_customer_counts_once_however_many_addresses_he_has() {
        assert_eq!(network("203.0.113.9").as_deref(), Some("203.0.113.9"));
        assert_eq!(
            network("::ffff:203.0.113.9").as_deref(),
            Some("203.0.113.9"),
            "a socket for both versions says it so"
        );
        assert_eq!(network("2001:db8:1:2:3:4:5:6").as_deref(), Some("2001:db8:1:2::/64"));
        assert_eq!(network("2001:db8:1:2::9"), network("2001:db8:1:2:ffff::"));
        assert_ne!(network("2001:db8:1:2::9"), network("2001:db8:1:3::9"));
        assert_eq!([network("127.0.0.1"), network("::1"), network("::ffff:127.0.0.1")], [None, None, None]);
    }
}
