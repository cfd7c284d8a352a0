//! Neighbour solicitations of a pod (RFC 4861): who has the router's address?

use core::net::Ipv6Addr;

use crate::Mac;
use crate::errors::message;
use crate::packet::View;

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Hop limit of neighbour discovery; it proves that a packet comes from the same link.
const HOP_LIMIT: u8 = 255;
/// Router, solicited, override.
const FLAGS: [u8; 4] = [0xe0, 0, 0, 0];
/// Option: target link-layer address, in units of 8 bytes.
const TARGET_OPTION: [u8; 2] = [2, 1];

/// The answer to a solicitation for one of `own`; `None` for any other packet.
pub(crate) fn answer(view: &View<'_>, mac: Mac, own: &[Ipv6Addr]) -> Option<Vec<u8>> {
    let icmp = view.icmp()?;
    let target = Ipv6Addr::from(*icmp.get(8..24)?.first_chunk::<16>()?);
    // Duplicate address detection has no source address. It is not answered: pods are given their addresses.
    if icmp[0] != SOLICITATION || icmp[1] != 0 || view.hop_limit != HOP_LIMIT || view.source.is_unspecified() {
        return None;
    }
    if !own.contains(&target) {
        return None;
    }
    let mut data = target.octets().to_vec();
    data.extend_from_slice(&TARGET_OPTION);
    data.extend_from_slice(&mac);
    Some(message(target, view.source, HOP_LIMIT, (ADVERTISEMENT, 0, FLAGS), &data))
}
