//! Chains of links A → R → B for the peers, and what their interfaces count.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::namespace::Links;

/// A chain. Its four ends in order: that of A, the two of R, that of B.
pub struct Chain {
    pub ends: [String; 4],
}

impl Chain {
    /// Two veth pairs, up.
    pub fn new(links: &mut Links, name: &str) -> Self {
        let ends = ["a", "r", "s", "b"].map(|end| format!("{name}.{end}"));
        links.pair(&ends[0], &ends[1]);
        links.pair(&ends[2], &ends[3]);
        Self { ends }
    }

    pub fn first(&self) -> &str {
        &self.ends[0]
    }

    pub fn last(&self) -> &str {
        &self.ends[3]
    }

    /// Lets the kernel forward IPv6 from R's first interface to B behind its second.
    pub fn route(&self) -> Result<(), String> {
        let [first, _, out, last] = &self.ends;
        for quiet in [first, last] {
            set(&format!("conf/{quiet}/disable_ipv6"), "1")?;
        }
        set("conf/all/forwarding", "1")?;
        let mac = damc_link::mac(last).map_err(|e| e.to_string())?;
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        ip(&format!("route add fd00:b::/64 dev {out}\nneigh add fd00:b::1 lladdr {mac} dev {out} nud permanent\n"))
    }

    /// Lets the kernel bridge R's two interfaces.
    pub fn bridge(&self) -> Result<(), String> {
        let [_, inner, out, _] = &self.ends;
        ip(&format!(
            "link add name br0 type bridge\nlink set dev {inner} master br0\nlink set dev {out} master br0\nlink set dev br0 up\n"
        ))
    }
}

fn set(key: &str, value: &str) -> Result<(), String> {
    let path = format!("/proc/sys/net/ipv6/{key}");
    std::fs::write(&path, value).map_err(|e| format!("{path}: {e}"))
}

/// Runs commands of `ip` in this namespace.
fn ip(commands: &str) -> Result<(), String> {
    let child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|e| format!("ip (iproute2) cannot be started: {e}"))?;
    let written = child.stdin.take().map(|mut pipe| pipe.write_all(commands.as_bytes()));
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    if output.status.success() && matches!(written, Some(Ok(()))) {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
