//! gRPC between unchanged programs: the same results wherever the service is.

use std::path::PathBuf;
use std::process::Stdio;

use damc_wire::Role;

use super::Ran;
use crate::case::{Findings, Stop};
use crate::testbed::Testbed;

/// Where the calculator listens.
const PORT: u16 = 8051;
/// Calls with their results: exit code and output.
const CALLS: [(&[&str], i32, &str); 6] = [
    (&["add", "2", "3"], 0, "5"),
    (&["add", "-9223372036854775808", "9223372036854775807"], 0, "-1"),
    (&["add", "9223372036854775807", "1"], 1, "OutOfRange: the sum is too large"),
    (&["add"], 1, "InvalidArgument: takes numbers to add"),
    (&["double", "1", "20", "300"], 0, "2 40 600"),
    (&["double"], 0, ""),
];

/// Path of one of our own programs, in the folder of the one that builds labs.
pub(super) fn program(testbed: &Testbed, name: &str) -> Result<PathBuf, Stop> {
    let processes = testbed.processes();
    let path = processes.program.with_file_name(name);
    if (processes.find)(&path).is_some() {
        Ok(path)
    } else {
        super::absent(&format!("{} (`cargo build --workspace --bins`)", path.display()))
    }
}

pub(super) async fn calculator(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (caller, far, chain) = testbed.far_pair().await?;
    let sg = testbed.sg_of(&caller)?;
    let (server, client) = (program(testbed, "damc-example-calculator")?, program(testbed, "damc-example-calculate")?);
    let (server, client) = (server.display().to_string(), client.display().to_string());
    let mut places = vec![("in its own pod".to_owned(), testbed.service_of(&caller)?)];
    let beside = testbed.beside(&sg, Role::Pod)?.into_iter().filter(|p| *p != caller);
    places.extend(
        beside.filter_map(|p| testbed.service_of(&p).ok()).take(1).map(|s| ("behind the same SG".to_owned(), s)),
    );
    places.push((format!("behind {}", chain.join(" → ")), far));
    for (place, target) in &places {
        let at = testbed.address(target)?;
        let (name, listen) = (format!("DAMC_NAME={target}"), format!("[{at}]:{PORT}"));
        let owner = testbed.owner_of(target)?;
        let mut command = testbed.program(&owner, &["env", &name, &server, &listen]);
        let _server = command.stdout(Stdio::null()).spawn().map_err(|e| Stop::Inconclusive(e.to_string()))?;
        testbed.wait_listening(&owner, PORT, at).await?;
        let host = format!("{}:{PORT}", testbed.host(target)?);
        for (words, code, said) in CALLS {
            let ran = testbed.run_inside_all(&caller, &[&[client.as_str(), &host], words].concat()).await?;
            findings.check_eq(
                &seen(&ran),
                &(Some(code), said.to_owned()),
                format!("{target}, {place}: {}", words.join(" ")),
            );
        }
        let ran = testbed.run_inside_all(&caller, &[&client, &host, "who"]).await?;
        findings.check_eq(
            &seen(&ran),
            &(Some(0), target.clone()),
            format!("{target}, {place}: {target} itself answers"),
        );
    }
    Ok(())
}

fn seen(ran: &Ran) -> (Option<i32>, String) {
    (ran.code, ran.text())
}
