//! rtnetlink in one namespace: veth pairs made in place, links up and down, queueing disciplines.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use futures::StreamExt;
use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcStats2};
use rtnetlink::sys::TokioSocket;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::qdisc::Qdisc;

/// A refusal of the kernel, with its own explanation where it gave one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", std::io::Error::from_raw_os_error(*.errno), explained(.text))]
pub struct RtnlError {
    /// Error number.
    pub errno: i32,
    /// Text of the extended acknowledgement.
    pub text: Option<String>,
}

fn explained(text: &Option<String>) -> String {
    text.as_ref().map(|text| format!(" ({text})")).unwrap_or_default()
}

/// One end of a veth pair.
#[derive(Clone, Debug)]
pub struct VethEnd<'a> {
    /// Interface name.
    pub name: &'a str,
    /// Interface index to give it, unique in its namespace.
    pub index: u32,
    /// Hardware address.
    pub address: [u8; 6],
    /// The namespace it is made in.
    pub namespace: BorrowedFd<'a>,
}

/// A connection to the kernel in one namespace. Requests may be made side by side; the kernel works in order.
#[derive(Clone, Debug)]
pub struct Rtnl {
    handle: Handle,
}

impl Rtnl {
    /// Takes over a non-blocking socket that was opened in the namespace; its driver runs on the current tokio runtime.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        // SAFETY: `into_raw_fd` gives up the descriptor, so the new socket is its only owner.
        let socket = unsafe { TokioSocket::from_raw_fd(socket.into_raw_fd()) };
        let (connection, handle, _) = rtnetlink::from_socket(socket);
        tokio::spawn(connection);
        Self { handle }
    }

    /// Makes a veth pair with both ends in their final namespaces (moving one afterwards costs 15 ms).
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn add_veth(&self, a: &VethEnd<'_>, b: &VethEnd<'_>, mtu: u32) -> Result<(), RtnlError> {
        // IFF_UP on the peer within this message is refused (the pair is not joined yet), so both come up later.
        let peer = end(LinkMessageBuilder::<LinkUnspec>::new(), b, mtu).build();
        let pair = end(LinkVeth::new(a.name, b.name), a, mtu).set_info_data(InfoData::Veth(InfoVeth::Peer(peer)));
        self.execute(RouteNetlinkMessage::NewLink(pair.build()), NLM_F_CREATE | NLM_F_EXCL).await
    }

    /// Sets a link up or down.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn set_up(&self, index: u32, up: bool) -> Result<(), RtnlError> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.change_mask = LinkFlags::Up;
        if up {
            link.header.flags = LinkFlags::Up;
        }
        self.execute(RouteNetlinkMessage::SetLink(link), 0).await
    }

    /// Sets the root queueing discipline of a link, in place of the one there was.
    ///
    /// # Errors
    /// The kernel's refusal; see [`RtnlError::is_unknown_qdisc`].
    pub async fn set_qdisc(&self, index: u32, qdisc: &Qdisc) -> Result<(), RtnlError> {
        let mut message = root_qdisc(index);
        message.attributes.push(TcAttribute::Kind(qdisc.kind().to_owned()));
        // netem's options begin with a bare struct, so the typed `TcAttribute::Options` cannot carry them.
        message.attributes.push(TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, qdisc.options())));
        self.execute(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_REPLACE).await
    }

    /// Goes back to the kernel's default queueing discipline.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn clear_qdisc(&self, index: u32) -> Result<(), RtnlError> {
        match self.execute(RouteNetlinkMessage::DelQueueDiscipline(root_qdisc(index)), 0).await {
            // Nothing but the default was there.
            Err(error) if error.errno == libc::ENOENT || error.errno == libc::EINVAL => Ok(()),
            other => other,
        }
    }

    /// The kind of the root queueing discipline of a link, `noqueue` where it has none.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn qdisc_kind(&self, index: u32) -> Result<String, RtnlError> {
        let mut kind = "noqueue".to_owned();
        let mut stream = self.handle.qdisc().get().index(index.cast_signed()).execute();
        while let Some(message) = stream.next().await {
            let message = message.map_err(unreadable)?;
            if message.header.parent == TcHandle::ROOT && message.header.index.cast_unsigned() == index {
                kind = message
                    .attributes
                    .iter()
                    .find_map(
                        |attribute| if let TcAttribute::Kind(kind) = attribute { Some(kind.clone()) } else { None },
                    )
                    .unwrap_or(kind);
            }
        }
        Ok(kind)
    }

    /// What the kernel has counted at the sending side of a link since it was made: frames that left the interface, and
    /// what its root queueing discipline knows of.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn counted(&self, index: u32) -> Result<Counted, RtnlError> {
        let mut counted = Counted::default();
        // The interface first: what is sent in between must not look as if it had gone around the discipline.
        let mut links = self.handle.link().get().match_index(index).execute();
        while let Some(link) = links.next().await {
            for attribute in link.map_err(unreadable)?.attributes {
                if let LinkAttribute::Stats64(stats) = attribute {
                    counted.left = stats.tx_packets;
                }
            }
        }
        let mut disciplines = self.handle.qdisc().get().index(index.cast_signed()).execute();
        while let Some(message) = disciplines.next().await {
            let message = message.map_err(unreadable)?;
            if message.header.parent != TcHandle::ROOT || message.header.index.cast_unsigned() != index {
                continue;
            }
            for statistics in message.attributes.iter().filter_map(|attribute| match attribute {
                TcAttribute::Stats2(statistics) => Some(statistics),
                _ => None,
            }) {
                for statistic in statistics {
                    match statistic {
                        TcStats2::Basic(basic) => counted.shaped = u64::from(basic.packets),
                        TcStats2::Queue(queue) => counted.dropped = u64::from(queue.drops),
                        _ => {}
                    }
                }
            }
        }
        Ok(counted)
    }

    /// Makes any request.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn execute(&self, message: RouteNetlinkMessage, flags: u16) -> Result<(), RtnlError> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let gone = |_| RtnlError { errno: libc::ENOTCONN, text: None };
        let mut answers = self.handle.clone().request(request).map_err(gone)?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload
                && error.code.is_some()
            {
                return Err(RtnlError { errno: error.raw_code().abs(), text: ext_ack_text(&error.header) });
            }
        }
        Ok(())
    }
}

impl RtnlError {
    /// The kernel has no such queueing discipline (ENOENT stands for much else, the text does not).
    #[must_use]
    pub fn is_unknown_qdisc(&self) -> bool {
        self.errno == libc::ENOENT
            && self
                .text
                .as_deref()
                .is_none_or(|text| text.contains("qdisc kind is unknown") || text.contains("Failed to load"))
    }
}

/// What the kernel counts where a link is shaped, in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Frames that left the interface.
    pub left: u64,
    /// Frames that the queueing discipline let go.
    pub shaped: u64,
    /// Frames that it dropped, those it was told to lose among them.
    pub dropped: u64,
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreadable(error: rtnetlink::Error) -> RtnlError {
    RtnlError { errno: libc::EIO, text: Some(error.to_string()) }
}

const TCA_OPTIONS: u16 = 2;

fn root_qdisc(index: u32) -> TcMessage {
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.parent = TcHandle::ROOT;
    message
}

fn end<T>(builder: LinkMessageBuilder<T>, end: &VethEnd<'_>, mtu: u32) -> LinkMessageBuilder<T> {
    builder
        .name(end.name)
        .index(end.index)
        .address(end.address.to_vec())
        .mtu(mtu)
        .setns_by_fd(end.namespace.as_raw_fd())
        // veth takes one queue for each possible CPU otherwise.
        .append_extra_attribute(LinkAttribute::NumTxQueues(1))
        .append_extra_attribute(LinkAttribute::NumRxQueues(1))
}

/// NLMSGERR_ATTR_MSG of an error message: what follows the error code is the header of the request, or the whole
/// request unless it was capped, then attributes.
fn ext_ack_text(after_code: &[u8]) -> Option<String> {
    const NLMSG_HEADER: usize = 16;
    const NLMSGERR_ATTR_MSG: u16 = 1;
    let request_length = usize::try_from(u32::from_ne_bytes(after_code.get(..4)?.try_into().ok()?)).ok()?;
    [request_length.next_multiple_of(4), NLMSG_HEADER].into_iter().find_map(|start| {
        let mut rest = after_code.get(start..)?;
        while let (Some(length), Some(kind)) = (rest.get(..2), rest.get(2..4)) {
            let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
            let value = rest.get(4..length)?;
            if u16::from_ne_bytes([kind[0], kind[1]]) == NLMSGERR_ATTR_MSG {
                let text = value.strip_suffix(&[0]).unwrap_or(value);
                return std::str::from_utf8(text).ok().map(str::to_owned);
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
        None
    })
}
