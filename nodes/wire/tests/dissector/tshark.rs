//! Runs tshark with the script on frames.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use libtest_mimic::Failed;

use super::registries::script;

type Result<T> = std::result::Result<T, Failed>;

/// Why nothing can be tested here; none where tshark runs.
pub fn missing() -> Option<String> {
    match Command::new("tshark").arg("--version").output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("tshark --version: {}", output.status)),
        Err(error) => Some(format!("tshark does not start (Debian: apt-get install tshark): {error}")),
    }
}

/// A capture that is gone when dropped.
struct Capture(PathBuf);

impl Drop for Capture {
    fn drop(&mut self) {
        // A file left in the temporary folder does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// PDUs in Ethernet frames as a classic pcap, one second apart.
fn capture(pdus: &[Vec<u8>]) -> Result<Capture> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("damc-dissector-{}-{number}.pcap", std::process::id()));
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        bytes.extend(word.to_le_bytes());
    }
    let ethernet = [[0xff; 6], [0x02; 6]].concat();
    for (second, pdu) in (0_u32..).zip(pdus) {
        let length = u32::try_from(ethernet.len() + 2 + pdu.len())?;
        for word in [second, 0, length, length] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(&ethernet);
        bytes.extend(damc_wire::registry::ETHERTYPE.to_be_bytes());
        bytes.extend(pdu);
    }
    std::fs::write(&path, bytes)?;
    Ok(Capture(path))
}

fn run(pdus: &[Vec<u8>], arguments: &[&str]) -> Result<String> {
    let capture = capture(pdus)?;
    let output = Command::new("tshark")
        .arg("-r")
        .arg(&capture.0)
        .arg(format!("-Xlua_script:{}", script().display()))
        // What this machine's user prefers must not change what the test sees.
        .env("WIRESHARK_CONFIG_DIR", capture.0.with_extension("preferences"))
        .args(arguments)
        .output()?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        Err(format!("tshark: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// All fields of each frame that begin with `damc.`: the values of each in order, without containers and what links frames.
pub fn fields_of(pdus: &[Vec<u8>]) -> Result<Vec<BTreeMap<String, Vec<String>>>> {
    let text = run(pdus, &["-T", "pdml"])?;
    let document = roxmltree::Document::parse(&text)?;
    let packets = document.descendants().filter(|node| node.has_tag_name("packet"));
    Ok(packets.map(fields).collect())
}

fn fields(packet: roxmltree::Node<'_, '_>) -> BTreeMap<String, Vec<String>> {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in packet.descendants().filter(|node| node.has_tag_name("field")) {
        let (name, shown) = (node.attribute("name").unwrap_or_default(), node.attribute("show").unwrap_or_default());
        let links = ["damc.request_in", "damc.response_in", "damc.response_time"].contains(&name);
        if !name.starts_with("damc.") || name.starts_with("damc.tlv") || links || shown.is_empty() {
            continue;
        }
        // tshark has written booleans in two ways and bytes with colons.
        let value = match shown {
            "True" => "1".to_owned(),
            "False" => "0".to_owned(),
            bytes if node.attribute("value") == Some(&bytes.replace(':', "")) => bytes.replace(':', ""),
            other => other.to_owned(),
        };
        fields.entry(name.to_owned()).or_default().push(value);
    }
    fields
}

/// The values of some fields in each frame, with `|` between them.
pub fn columns(pdus: &[Vec<u8>], fields: &[&str]) -> Result<Vec<String>> {
    let mut arguments = vec!["-T", "fields", "-E", "separator=|"];
    arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
    Ok(run(pdus, &arguments)?.lines().map(str::to_owned).collect())
}

/// Info column and drop reason of each frame.
pub fn lines_of(pdus: &[Vec<u8>]) -> Result<Vec<(String, String)>> {
    let rows = columns(pdus, &["_ws.col.Info", "damc.drop"])?;
    if rows.len() != pdus.len() {
        return Err(format!("{} frames, {} rows", pdus.len(), rows.len()).into());
    }
    let split = |row: String| row.rsplit_once('|').map(|(line, drop)| (line.to_owned(), drop.to_owned()));
    rows.into_iter().map(split).collect::<Option<_>>().ok_or_else(|| "a row without a separator".into())
}

/// Frame of the request, time since then, frame of the answer, of each frame.
pub fn exchanges_of(pdus: &[Vec<u8>]) -> Result<Vec<String>> {
    // Two passes: only the second knows the answer when it comes to the request.
    run(
        pdus,
        &["-2", "-T", "fields", "-E", "separator=|", "-edamc.request_in", "-edamc.response_time", "-edamc.response_in"],
    )
    .map(|text| text.lines().map(str::to_owned).collect())
}
