//! What cases of several sections look for: LSAs about a name, drops by reason, services without a licence.

use std::time::Duration;

use damc_mgmt::command::Command;
use damc_mgmt::view::{AnnouncementView, AnnouncementsView};
use damc_mgmt::words::{AnnouncementState, LsaKind};
use damc_wire::lsa::{Lsa, LsaId};
use damc_wire::{DropReason, Message, MessageType, Name};

use super::Testbed;
use crate::case::Stop;
use crate::trace::Seen;

/// The LSAs in a frame.
#[must_use]
pub fn lsas_in(frame: &Seen) -> &[Lsa] {
    match frame.message() {
        Message::LsUpdate(lsas) => lsas,
        _ => &[],
    }
}

/// Whether an LSA advertises `name` (a purge of it does not).
#[must_use]
pub fn advertises(lsa: &Lsa, name: &Name) -> bool {
    !lsa.is_purge() && matches!(&lsa.key.id, LsaId::Prefix(prefix, _) if prefix == name)
}

/// Parses a name that the suite chose.
///
/// # Errors
/// It is malformed.
pub fn parse(name: &str) -> Result<Name, Stop> {
    name.parse().map_err(|e| Stop::Inconclusive(format!("{name}: {e}")))
}

impl Testbed {
    /// A name below the suite's own prefix that was not used before.
    #[must_use]
    pub fn fresh_name(&self, pod: &str) -> String {
        format!("/{}/{pod}/{}", damc_topology::plan::GUEST, self.unique())
    }

    /// Starts a service in `pod` without adding a licence for it.
    ///
    /// # Errors
    /// The order is refused.
    pub async fn start_unlicensed(&self, pod: &str, prefix: &str, pool: Option<&str>) -> Result<(), Stop> {
        let (prefix, pool) = (parse(prefix)?, pool.map(parse).transpose()?);
        self.order(pod, &Command::StartService { prefix: prefix.clone(), pool }).await?;
        self.undo_later((pod.into(), Command::StopService { prefix }));
        Ok(())
    }

    /// Stops a service that a case started; does not wait for its withdrawal.
    ///
    /// # Errors
    /// The order is refused.
    pub async fn stop_service(&self, pod: &str, prefix: &str) -> Result<(), Stop> {
        let order = (pod.to_owned(), Command::StopService { prefix: parse(prefix)? });
        self.order(pod, &order.1).await?;
        self.undone(&order);
        Ok(())
    }

    /// Revokes a licence.
    ///
    /// # Errors
    /// The SPA refuses.
    pub async fn revoke_licence(&self, pod: &str, prefix: &str) -> Result<(), Stop> {
        let spa = self.spa_of(&self.sg_of(pod)?)?;
        let (pod, _) = self.role(pod)?;
        self.order(&spa, &Command::RevokeLicence { pod, prefix: parse(prefix)? }).await?;
        Ok(())
    }

    /// Waits until `node` shows an announcement of `prefix` in this state.
    ///
    /// # Errors
    /// [`Stop::Failed`] at the deadline.
    pub async fn wait_announcement(
        &self,
        node: &str,
        prefix: &str,
        state: AnnouncementState,
        within: Duration,
    ) -> Result<AnnouncementView, Stop> {
        let what = format!("{prefix} {state} at {node}");
        self.wait(&what, within, || async {
            let view: AnnouncementsView = self.lab.show(node).await?;
            let row = view.announcements.into_iter().find(|a| a.prefix == prefix);
            Ok(match row {
                Some(row) if row.state == state => Ok(row),
                Some(row) => Err(format!("it is {} ({:?})", row.state, row.reason)),
                None => Err("it is not there".into()),
            })
        })
        .await
    }

    /// Waits until `node` has dropped at least `count` frames for `reason` in addition to `before`.
    ///
    /// # Errors
    /// [`Stop::Failed`] at the deadline.
    pub async fn wait_dropped(&self, node: &str, reason: DropReason, before: u64, count: u64) -> Result<u64, Stop> {
        let what = format!("{node} drops {count} for {reason}");
        self.wait(&what, self.t_conv(), || async {
            let dropped = self.dropped(node, reason).await?.saturating_sub(before);
            Ok(if dropped >= count { Ok(dropped) } else { Err(format!("{dropped} so far")) })
        })
        .await
    }

    /// How many frames since `from_ns` carried an LSA that advertises `name`.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn advertised(&self, name: &str, from_ns: u64) -> Result<usize, Stop> {
        let name = parse(name)?;
        let frames = self.frames(from_ns).await?;
        let updates = frames.iter().filter(|s| s.message_type() == MessageType::LsUpdate);
        Ok(updates.filter(|s| lsas_in(s).iter().any(|l| advertises(l, &name))).count())
    }

    /// The SGs and SRs that have `name` in their FIB or, not purged, in their LSDB.
    ///
    /// # Errors
    /// A node does not answer.
    pub async fn known_at(&self, name: &str) -> Result<Vec<String>, Stop> {
        let mut knowing = Vec::new();
        for (node, fib) in self.fibs().await? {
            let lsdb = self.lab.lsdb(&node).await?;
            let held = lsdb.lsas.iter().any(|l| l.kind == LsaKind::Prefix && l.id == name && !l.purged);
            if held || fib.entries.iter().any(|e| e.prefix == name) {
                knowing.push(node);
            }
        }
        Ok(knowing)
    }
}
