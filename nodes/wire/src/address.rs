//! IPv6 addresses of names, by which programs without DAMC code address services (`nodes/WIRE.md`, section 25).
//!
//! An address follows from domain and name alone: every node computes the same one, and none is assigned.

use core::net::Ipv6Addr;

use sha2::{Digest, Sha256};

use crate::Name;
use crate::frame::PACKET_OVERHEAD;
use crate::registry::MAX_PDU;

/// Context of the hash for the 40 bits of a domain's prefix.
pub const DOMAIN_CONTEXT: &str = "damc domain v1";
/// Context of the hash for the 80 bits of a name below that prefix.
pub const NAME_CONTEXT: &str = "damc address v1";
/// Least MTU a link for IPv6 must have, in bytes (RFC 8200, section 5).
pub const MIN_MTU: usize = 1280;
/// Longest wire form, in bytes, of a name that has an address: a packet of [`MIN_MTU`] between two such names fits a PDU.
pub const MAX_ADDRESSED: usize = (MAX_PDU - PACKET_OVERHEAD - MIN_MTU) / 2;
/// Length of a domain's prefix in bits.
pub const PREFIX_LEN: u8 = 48;
/// Top-level domain of all names in the DNS.
pub const DNS_TOP: &str = "damc";

/// The first six bytes of every address of a domain: `fd` and 40 bits of a hash (RFC 4193, section 3.1).
#[must_use]
pub fn prefix_of(domain: &str) -> [u8; 6] {
    let digest = Sha256::new().chain_update(DOMAIN_CONTEXT).chain_update([0]).chain_update(domain).finalize();
    let mut prefix = [0xfd; 6];
    prefix[1..].copy_from_slice(&digest[..5]);
    prefix
}

/// The address of a name; `None` if its wire form has more than [`MAX_ADDRESSED`] bytes.
#[must_use]
pub fn of_name(domain: &str, name: &Name) -> Option<Ipv6Addr> {
    below(prefix_of(domain), name)
}

/// The same as [`of_name`], with the domain's prefix already computed.
#[must_use]
pub fn below(prefix: [u8; 6], name: &Name) -> Option<Ipv6Addr> {
    if name.wire().len() > MAX_ADDRESSED {
        return None;
    }
    let digest = Sha256::new().chain_update(NAME_CONTEXT).chain_update([0]).chain_update(name.wire()).finalize();
    let mut address = [0; 16];
    address[..6].copy_from_slice(&prefix);
    address[6..].copy_from_slice(&digest[..10]);
    // The lower half of the subnets is reserved for the gateway's own addresses.
    address[6] |= 0x80;
    Some(Ipv6Addr::from(address))
}

/// The address at which every SG of a domain answers DNS: `<prefix>::53`.
#[must_use]
pub fn of_dns(domain: &str) -> Ipv6Addr {
    reserved(prefix_of(domain), 0x53)
}

/// The address at which every SG of a domain serves HTTP and gRPC to its pods: `<prefix>::1`.
#[must_use]
pub fn of_gateway(domain: &str) -> Ipv6Addr {
    reserved(prefix_of(domain), 1)
}

/// The link-local address of every SG on every link to a pod, and the pod's default router.
pub const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

fn reserved(prefix: [u8; 6], last: u8) -> Ipv6Addr {
    let mut address = [0; 16];
    address[..6].copy_from_slice(&prefix);
    address[15] = last;
    Ipv6Addr::from(address)
}

/// The name's host name: components in reverse order and lower case, then the domain, then `damc`. `/B/4` of `example`
/// is `4.b.example.damc`. `None` if a component cannot be a label (more than 63 bytes, or a `.` or `~` in it) or the
/// whole has more than 253 bytes.
#[must_use]
pub fn host_name(domain: &str, name: &Name) -> Option<String> {
    let mut labels: Vec<String> = name.components().map(str::to_ascii_lowercase).collect();
    if labels.iter().any(|label| label.len() > 63 || label.contains(['.', '~'])) {
        return None;
    }
    labels.reverse();
    labels.push(domain.to_ascii_lowercase());
    labels.push(DNS_TOP.to_owned());
    Some(labels.join(".")).filter(|name| name.len() <= 253)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// The vector of `nodes/WIRE.md`, section 25.
    #[test]
    fn the_address_follows_from_domain_and_name() {
        let text = include_str!("../../WIRE.md");
        for who in ["/B/4", "/B"] {
            let row = format!("| `{who}` | `{}` |", of_name("example", &name(who)).unwrap());
            assert!(text.contains(&row), "{row} is not in WIRE.md");
        }
        assert!(text.contains(&format!("| DNS | `{}` |", of_dns("example"))));
        assert!(text.contains(&format!("| class 1 | `{}` |", of_gateway("example"))));
        assert_ne!(of_name("example", &name("/B/4")), of_name("other", &name("/B/4")));
        assert_ne!(of_name("example", &name("/B/4")), of_name("example", &name("/b/4")));
    }

    #[test]
    fn two_addressed_names_leave_room_for_the_least_mtu() {
        let longest = name(&format!("/{}/{}", "a".repeat(64), "b".repeat(MAX_ADDRESSED - 66)));
        assert_eq!(longest.wire().len(), MAX_ADDRESSED);
        assert!(of_name("example", &longest).is_some());
        const { assert!(PACKET_OVERHEAD + 2 * MAX_ADDRESSED + MIN_MTU <= MAX_PDU) };
        assert_eq!(of_name("example", &name(&format!("{longest}b"))), None);
    }

    #[test]
    fn names_of_gateways_are_no_addresses_of_names() {
        for i in 0..2000 {
            let address = of_name("example", &name(&format!("/x/{i}"))).unwrap().octets();
            assert!(address[0] == 0xfd && address[6] & 0x80 != 0);
        }
        assert_eq!(of_dns("example").octets()[6] & 0x80, 0);
    }

    #[test]
    fn host_names_read_backwards() {
        assert_eq!(host_name("example", &name("/B/4")).as_deref(), Some("4.b.example.damc"));
        assert_eq!(host_name("a.b", &name("/shop/cart-1")).as_deref(), Some("cart-1.shop.a.b.damc"));
        assert_eq!(host_name("example", &name("/v1.2")), None);
        assert_eq!(host_name("example", &name(&format!("/{}", "a".repeat(64)))), None);
    }
}
