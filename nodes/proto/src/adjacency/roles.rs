//! Which roles may be neighbours, and which messages they may send each other on the link.

use damc_wire::Role;
use damc_wire::registry::MessageType;

/// Whether `a` and `b` may be neighbours.
#[must_use]
pub const fn may_neighbour(a: Role, b: Role) -> bool {
    use Role::{Pod, Scsc, Sg, Spa, Sr};
    matches!(
        (a, b),
        (Sr, Sr)
            | (Sg, Sr)
            | (Sr, Sg)
            | (Sg, Spa)
            | (Spa, Sg)
            | (Pod, Sg)
            | (Sg, Pod)
            | (Scsc, Sr | Sg)
            | (Sr | Sg, Scsc)
    )
}

/// Whether two nodes of these roles synchronise link-state databases.
#[must_use]
pub const fn exchanges_lsas(a: Role, b: Role) -> bool {
    matches!(a, Role::Sg | Role::Sr) && matches!(b, Role::Sg | Role::Sr)
}

/// Whether `from` may send a hop-local message of this type to `to` (LSA-01, AUT-06).
#[must_use]
pub const fn may_send(from: Role, to: Role, message: MessageType) -> bool {
    use MessageType as T;
    if !may_neighbour(from, to) {
        return false;
    }
    match message {
        T::Hello | T::Echo => true,
        T::LsUpdate | T::LsAck | T::DbSummary | T::LsRequest => exchanges_lsas(from, to),
        T::Announce => matches!((from, to), (Role::Pod, Role::Sg)),
        T::AnnounceReply => matches!((from, to), (Role::Sg, Role::Pod)),
        T::AuthRequest | T::RevokeAck => matches!((from, to), (Role::Sg, Role::Spa)),
        T::AuthReply | T::Revoke => matches!((from, to), (Role::Spa, Role::Sg)),
        T::Topology | T::AttachAck => matches!((from, to), (Role::Sg | Role::Sr, Role::Scsc)),
        T::TopologyAck | T::Attach => matches!((from, to), (Role::Scsc, Role::Sg | Role::Sr)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsa_01_class_2_stays_between_sg_and_sr() {
        for &from in Role::ALL {
            for &to in Role::ALL {
                let routers = exchanges_lsas(from, to) && may_neighbour(from, to);
                for t in [MessageType::LsUpdate, MessageType::LsAck, MessageType::DbSummary, MessageType::LsRequest] {
                    assert_eq!(may_send(from, to, t), routers, "{from} to {to}: {t}");
                }
            }
        }
    }

    #[test]
    fn neighbourhood_is_symmetric_and_as_drawn() {
        for &a in Role::ALL {
            for &b in Role::ALL {
                assert_eq!(may_neighbour(a, b), may_neighbour(b, a));
            }
        }
        assert!(!may_neighbour(Role::Pod, Role::Sr), "FIG-15");
        assert!(!may_neighbour(Role::Spa, Role::Sr), "FIG-15");
        assert!(!may_neighbour(Role::Sg, Role::Sg), "FIG-15");
    }

    #[test]
    fn aut_06_only_sg_and_spa_speak_class_3() {
        for &from in Role::ALL {
            for &to in Role::ALL {
                assert_eq!(may_send(from, to, MessageType::AuthRequest), (from, to) == (Role::Sg, Role::Spa));
                assert_eq!(may_send(from, to, MessageType::AuthReply), (from, to) == (Role::Spa, Role::Sg));
            }
        }
    }
}
