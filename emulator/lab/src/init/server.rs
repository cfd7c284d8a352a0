//! The control socket.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use damc_link::{Filter, RawSocket, Transmit};
use damc_testbed::Deed;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::{UnixListener, UnixStream};

use super::{Ending, Lab, calibrate, nodes};
use crate::control::{Reply, Request};
use crate::error::{LabError, Result};
use crate::ownership;

/// Serves every client until the lab ends.
pub(super) async fn accept(lab: Rc<Lab>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if !is_owners(&stream) => drop(stream),
            Ok((stream, _)) => {
                let lab = lab.clone();
                // A client that goes away in the middle is its own affair.
                tokio::task::spawn_local(async move { serve(&lab, stream).await.unwrap_or_default() });
            }
            Err(error) => {
                eprintln!("lab-init: control socket: {error}");
                return;
            }
        }
    }
}

/// Whether the lab's owner is at the other end. The folder keeps others out already; this does not rely on its mode.
fn is_owners(stream: &UnixStream) -> bool {
    ownership::peer(stream).is_ok_and(|user| user == nix::unistd::geteuid().as_raw())
}

/// How a client learns of an error: what it named wrongly apart from what could not be done.
fn refusal(error: &LabError) -> Reply {
    let reason = error.one_line();
    match error {
        LabError::NoNode { .. } | LabError::Usage(_) => Reply::Unknown { reason },
        _ => Reply::Refused { reason },
    }
}

async fn serve(lab: &Rc<Lab>, stream: UnixStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let request = serde_json::from_str::<Request>(&line);
        line.clear();
        let reply = match request {
            Ok(Request::Enter { node }) => {
                if let Err(error) = hand_out_namespaces(lab, &node, stream.get_ref()).await {
                    send(&mut stream, &refusal(&error)).await?;
                }
                continue;
            }
            Ok(Request::Shutdown { grace_ms }) => {
                lab.ending.send_replace(Ending::Begun);
                if grace_ms > 0 {
                    nodes::stop_all(lab, Duration::from_millis(grace_ms)).await;
                }
                lab.end().await;
                let told = send(&mut stream, &Reply::Done).await;
                lab.ending.send_replace(Ending::Now);
                return told;
            }
            Ok(request) => acted(lab, request).await.unwrap_or_else(|error| refusal(&error)),
            Err(error) => Reply::Refused { reason: format!("not a request: {error}") },
        };
        send(&mut stream, &reply).await?;
    }
    Ok(())
}

async fn send(stream: &mut BufReader<UnixStream>, reply: &Reply) -> std::io::Result<()> {
    stream.get_mut().write_all(&line(reply)).await
}

fn line(reply: &Reply) -> Vec<u8> {
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Answers, and remembers what was done.
async fn acted(lab: &Rc<Lab>, request: Request) -> Result<Reply> {
    let (at_ns, deed) = (damc_link::monotonic_now(), deed_of(&request));
    let reply = answer(lab, request).await?;
    if let Some(deed) = deed {
        lab.acts.borrow_mut().push(at_ns, deed);
    }
    Ok(reply)
}

fn deed_of(request: &Request) -> Option<Deed> {
    Some(match request {
        Request::Link { a, b, change } => Deed::Link { a: a.clone(), b: b.clone(), change: change.clone() },
        Request::Node { node, action } => Deed::Node { node: node.clone(), action: *action },
        Request::Inject { node, port, pdus } | Request::InjectStream { node, port, pdus, .. } => {
            Deed::Injected { node: node.clone(), port: port.clone(), frames: pdus.len() }
        }
        _ => return None,
    })
}

async fn answer(lab: &Rc<Lab>, request: Request) -> Result<Reply> {
    match request {
        Request::Acts => Ok(Reply::Acts { acts: lab.acts.borrow().all() }),
        Request::Status => Ok(Reply::Status { status: Box::new(lab.status()) }),
        Request::AwaitFailure => {
            let (mut failure, mut ending) = (lab.failure.subscribe(), lab.ending.subscribe());
            tokio::select! {
                _ = failure.wait_for(Option::is_some) => Ok(Reply::Status { status: Box::new(lab.status()) }),
                _ = ending.wait_for(|ending| *ending != Ending::No) => Ok(Reply::Done),
            }
        }
        Request::Link { a, b, change } => lab.links.change(&a, &b, *change).await.map(|()| Reply::Done),
        Request::ShowLink { a, b } => Ok(Reply::Link { link: Box::new(lab.links.show(&a, &b).await?) }),
        Request::Node { node, action } => nodes::act(lab, &node, action).await.map(|()| Reply::Done),
        Request::Inject { node, port, pdus } => inject(lab, &node, &port, &pdus).map(|()| Reply::Done),
        Request::InjectStream { node, port, pdus, spacing_us } => {
            inject_stream(lab, (&node, &port), &pdus, Duration::from_micros(spacing_us)).map(|()| Reply::Done)
        }
        Request::Calibrate { a, b, depth } => {
            let calibration = calibrate::run(lab, &a, &b, depth).await?;
            Ok(Reply::Calibration { calibration: Box::new(calibration) })
        }
        Request::Flush => {
            if let Some(recorder) = &lab.recorder {
                recorder.flush().await;
            }
            Ok(Reply::Done)
        }
        Request::Enter { .. } | Request::Shutdown { .. } => Err(LabError::Refused("answered elsewhere".to_owned())),
    }
}

/// Sends the namespaces of a node along with the reply.
async fn hand_out_namespaces(lab: &Lab, node: &str, stream: &UnixStream) -> Result<()> {
    let network = lab.namespace(node)?.fd();
    let descriptors: Vec<_> =
        lab.own_namespaces.iter().map(AsFd::as_fd).chain([network]).map(|fd: BorrowedFd<'_>| fd.as_raw_fd()).collect();
    let line = line(&Reply::Namespaces);
    let send = || {
        let ancillary = [ControlMessage::ScmRights(&descriptors)];
        let parts = [IoSlice::new(&line)];
        // The line is far shorter than the socket's buffer, so it goes whole or not at all.
        Ok(sendmsg::<()>(
            stream.as_raw_fd(),
            &parts,
            &ancillary,
            MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
            None,
        )?)
    };
    stream.async_io(Interest::WRITABLE, send).await.map_err(LabError::io("hand out namespaces"))?;
    Ok(())
}

fn inject(lab: &Lab, node: &str, port: &str, pdus: &[String]) -> Result<()> {
    let (socket, header) = injector(lab, node, port)?;
    let pdus = pdus.iter().map(|pdu| pdu_of(pdu)).collect::<Result<Vec<_>>>()?;
    let report = socket.send(pdus.iter().map(|pdu| Transmit { interface: 0, header: &header, body: pdu }));
    // A queue that overflows is what a flood wants to see; a frame that cannot be sent at all is not.
    if report.down == 0 && report.failed == 0 {
        return Ok(());
    }
    Err(LabError::Refused(format!("cannot send from {node} to {port}: {report:?}")))
}

/// Most PDUs of one stream, and the longest from one to the next: they bound the life of its thread.
const LONGEST_STREAM: usize = 20_000;
const LONGEST_SPACING: Duration = Duration::from_millis(10);

fn inject_stream(lab: &Lab, (node, port): (&str, &str), pdus: &[String], spacing: Duration) -> Result<()> {
    if pdus.len() > LONGEST_STREAM || spacing > LONGEST_SPACING {
        return Err(LabError::Refused(format!("over {LONGEST_STREAM} PDUs, or more than {LONGEST_SPACING:?} apart")));
    }
    let (socket, header) = injector(lab, node, port)?;
    let pdus = pdus.iter().map(|pdu| pdu_of(pdu)).collect::<Result<Vec<_>>>()?;
    let send = move || {
        let begin = std::time::Instant::now();
        for (number, pdu) in (0..).zip(&pdus) {
            let due = begin + spacing * number;
            std::thread::sleep(due.saturating_duration_since(std::time::Instant::now()));
            // What the kernel does not take is missing in the recording, which is what a suite judges by.
            let _ = socket.send([Transmit { interface: 0, header: &header, body: pdu }]);
        }
    };
    let thread = std::thread::Builder::new().name("inject".to_owned()).spawn(send);
    thread.map(drop).map_err(LabError::io("start a thread"))
}

/// A socket that sends out of a node's port, and the header of its frames. Another socket than the recorder's, which would
/// not see what it sends itself.
fn injector(lab: &Lab, node: &str, port: &str) -> Result<(RawSocket, [u8; 14])> {
    let namespace = lab.namespace(node)?;
    let end = lab.job.plan.ends_of(node).find(|(neighbour, _)| *neighbour == port).map(|(_, end)| end);
    let end = end.ok_or_else(|| LabError::Refused(format!("{node} has no port {port}")))?;
    let refused = |why: String| LabError::Refused(format!("cannot send from {node} to {port}: {why}"));
    let socket = namespace
        .run(|| RawSocket::open_on(&end.interface, Filter::Control).map_err(|error| refused(error.to_string())))??;
    Ok((socket, damc_link::ethernet_header(end.address)))
}

fn pdu_of(text: &str) -> Result<Vec<u8>> {
    damc_wire::hex::from_hex(text).map_err(|_| LabError::Refused("a PDU is not hexadecimal".to_owned()))
}
