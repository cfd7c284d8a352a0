//! An announcement as a client writes it: checks and completes it.

use damc_wire::message::{Announce, AnnounceEntry, AnnounceReply};
use damc_wire::{Name, NodeId};

use crate::{Gateway, Refusal};

/// A client's request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    pub(crate) pod: String,
    /// Prefix, pool and weight.
    pub(crate) add: Vec<(String, Option<String>, u32)>,
    pub(crate) withdraw: Vec<String>,
    pub(crate) request: Option<u64>,
    pub(crate) signature: Option<Vec<u8>>,
}

/// Why a request is not executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An invalid field: its name, and what is wrong.
    Field(String, String),
    /// It is not signed. These are the parts of what is to be signed that the client does not know.
    Unsigned { request: u64, sg: NodeId, session: u64 },
    /// The gateway does not execute it.
    Refused(Refusal),
}

/// Most bytes of names in one request: they fit one message to the SPA.
const MOST_BYTES: usize = 800;

impl Words {
    /// Executes the request, or returns what it lacks.
    pub(crate) async fn execute<G: Gateway>(self, gateway: &G) -> Result<AnnounceReply, Fault> {
        let signature = self.signature.clone();
        let number = self.request;
        let announce = self.announcement(gateway).await?;
        match (signature, number) {
            (Some(signature), Some(request)) => {
                let signature = <[u8; 64]>::try_from(signature.as_slice());
                let signature = signature.map_err(|_| field("signature", "an Ed25519 signature has 64 bytes"))?;
                let announce = Announce { request, signature, ..announce };
                gateway.announce(announce).await.map_err(Fault::Refused)
            }
            _ => {
                let Announce { request, sg, sg_session: session, .. } = announce;
                Err(Fault::Unsigned { request, sg, session })
            }
        }
    }

    /// The announcement, with a new number and no signature.
    async fn announcement<G: Gateway>(self, gateway: &G) -> Result<Announce, Fault> {
        let pod = NodeId::new(&self.pod).map_err(|e| field("pod", e.to_string()))?;
        let mut add = Vec::new();
        for (i, (prefix, pool, weight)) in self.add.iter().enumerate() {
            let prefix = name(&format!("add[{i}].prefix"), prefix)?;
            let pool = pool.as_deref().map(|pool| name(&format!("add[{i}].pool"), pool)).transpose()?;
            let weight = u16::try_from((*weight).max(1));
            let weight = weight.map_err(|_| field(&format!("add[{i}].weight"), "a weight is 1 to 65535"))?;
            add.push(AnnounceEntry { prefix, pool, weight });
        }
        let names = self.withdraw.iter().enumerate();
        let withdraw = names.map(|(i, text)| name(&format!("withdraw[{i}]"), text)).collect::<Result<Vec<_>, _>>()?;
        if add.is_empty() && withdraw.is_empty() {
            return Err(field("add", "there is nothing to announce or withdraw"));
        }
        let (sg, sg_session) = gateway.session(pod.clone()).await.map_err(Fault::Refused)?;
        let request = gateway.request_number();
        let announce = Announce { request, pod, sg, sg_session, add, withdraw, signature: [0; 64] };
        if announce.signed_part().len() > MOST_BYTES {
            return Err(field("add", "too many names for one request; split it into several"));
        }
        Ok(announce)
    }
}

fn name(at: &str, text: &str) -> Result<Name, Fault> {
    text.parse::<Name>().map_err(|e| field(at, e.to_string()))
}

fn field(at: &str, why: impl Into<String>) -> Fault {
    Fault::Field(at.to_owned(), why.into())
}
