//! `damc doctor`.

use damc_lab::calibration_lab::CalibrationLab;
use damc_lab::control::LinkService;
use damc_lab::job::LinksBy;
use damc_lab::lab::program;
use damc_lab::relay::calibrate::{Calibration, Depth};
use damc_lab::sandbox::obstacles::{Host, Obstacle};
use damc_lab::uml::Installation;
use damc_lab::up::{UpOptions, find, is_program, node_folders};
use damc_wire::registry::Role;
use serde::Serialize;
use tabled::builder::Builder;

use crate::exit::{Exit, Outcome};
use crate::guest::{self, KernelOptions};
use crate::session::block_on;
use crate::table::with_states;

/// Say what this host can do, and what labs would use of it.
///
/// Builds a small lab of its own for it. The exit code is 3 where labs cannot be built, or where --calibrate finds that
/// links do not do what they are told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Measure links: asked against measured, about ten seconds.
    #[arg(long)]
    pub calibrate: bool,
    /// What serves impaired links: auto, netem or relay.
    #[arg(long, default_value = "auto")]
    pub links: LinksBy,
    #[command(flatten)]
    pub kernel: KernelOptions,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    good: bool,
    detail: String,
}

#[derive(Debug, Serialize)]
struct Report {
    findings: Vec<Finding>,
    calibration: Option<Calibration>,
    labs_work: bool,
}

pub fn run(args: &Args) -> Outcome {
    if args.kernel.wants_guest() {
        return guest::run_again(args.kernel, None);
    }
    block_on(async {
        let mut report = Report { findings: host(), calibration: None, labs_work: false };
        calibration_lab(args, &mut report).await;
        if args.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            print(&report);
        }
        let faithful = report.calibration.as_ref().is_none_or(|calibration| calibration.faithful);
        Ok(if report.labs_work && faithful { Exit::Passed } else { Exit::Inconclusive })
    })
}

/// What can be known without building anything.
fn host() -> Vec<Finding> {
    let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
    let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let limit = read("/proc/sys/user/max_user_namespaces");
    let seen = Host::look();
    let user = if seen.sys_admin { "root, which needs none" } else { "without the permission to do without" };
    let uml = Installation::find().and_then(|found| found.starts_here().map(|()| found));
    let mut findings = vec![
        Finding { what: "kernel", good: true, detail: kernel },
        Finding {
            what: "user namespaces",
            good: !seen.userns_switched_off && !seen.low_limits.iter().any(|(kind, _)| *kind == "user"),
            detail: format!("at most {}; you are {user}", limit.unwrap_or_else(|| "?".to_owned())),
        },
        Finding {
            what: "User-Mode Linux",
            good: uml.is_ok(),
            detail: match uml {
                Ok(found) => format!("--kernel uml means {}, {}", found.version, found.kernel.display()),
                Err(error) => format!("no --kernel uml: {}", error.one_line()),
            },
        },
    ];
    findings.extend(surroundings(&seen));
    findings.push(programs());
    findings
}

/// What may keep labs from being built, each with its remedy, and the container this runs in.
fn surroundings(seen: &Host) -> Vec<Finding> {
    let container = seen.container.map(|name| Finding { what: "container", good: true, detail: name.to_owned() });
    let obstacle =
        |Obstacle { what, detail, remedy }| Finding { what, good: false, detail: format!("{detail}; {remedy}") };
    container.into_iter().chain(seen.obstacles().into_iter().map(obstacle)).collect()
}

fn programs() -> Finding {
    let what = "node programs";
    let Ok(own) = program() else {
        return Finding { what, good: false, detail: "the running executable cannot be told".to_owned() };
    };
    let folders = node_folders(&UpOptions::default(), &own);
    let missing: Vec<_> = Role::ALL
        .iter()
        .map(|role| format!("damc-{}", role.label()))
        .filter(|name| !is_program(&find(name, &folders)))
        .collect();
    let searched = folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(" or ");
    let detail = if missing.is_empty() {
        format!("all in {searched}")
    } else {
        format!("{} not in {searched}", missing.join(", "))
    };
    Finding { what, good: missing.is_empty(), detail }
}

/// Builds a lab of one link and looks at what it is made of.
async fn calibration_lab(args: &Args, report: &mut Report) {
    let lab = match CalibrationLab::up(args.links).await {
        Ok(lab) => lab,
        Err(error) => {
            return report.findings.push(Finding { what: "labs", good: false, detail: error.one_line() });
        }
    };
    match lab.status().await {
        Ok(status) => {
            report.labs_work = true;
            let detail = format!("one came up in {:.0} ms: namespaces, veth, packet sockets", status.ready_ms);
            report.findings.push(Finding { what: "labs", good: true, detail });
            let netem = status.links.iter().any(|link| link.service == LinkService::Netem);
            report.findings.push(Finding { what: "sch_netem", good: netem, detail: status.backend_reason.clone() });
            let netem_means = match (netem, args.links) {
                (true, LinksBy::Relay) | (false, _) => "--links netem needs sch_netem, which --kernel uml has",
                (true, _) => "--links netem works",
            };
            let detail =
                format!("--links {:?} means {}; {netem_means}", args.links, status.backend.label()).to_lowercase();
            report.findings.push(Finding { what: "impaired links", good: true, detail });
        }
        Err(error) => report.findings.push(Finding { what: "labs", good: false, detail: error.one_line() }),
    }
    if let Err(error) = lab.shape().await {
        report.findings.push(Finding { what: "sch_tbf", good: false, detail: error.one_line() });
    } else {
        report.findings.push(Finding { what: "sch_tbf", good: true, detail: "shapes plain links".to_owned() });
    }
    if args.calibrate {
        match lab.calibrate(Depth::Long).await {
            Ok(calibration) => report.calibration = Some(calibration),
            Err(error) => {
                report.labs_work = false;
                report.findings.push(Finding { what: "calibration", good: false, detail: error.one_line() });
            }
        }
    }
    if let Err(error) = lab.down().await {
        report.findings.push(Finding { what: "teardown", good: false, detail: error.one_line() });
    }
}

fn print(report: &Report) {
    let mut table = Builder::new();
    table.push_record(["", "what", "found"]);
    for finding in &report.findings {
        table.push_record([if finding.good { "✓" } else { "–" }, finding.what, &finding.detail]);
    }
    println!("{}", with_states(table, 0));
    let Some(calibration) = &report.calibration else { return };
    let mut table = Builder::new();
    table.push_record(["property", "asked", "measured", "interval", "p50", "p99", "frames", ""]);
    let number =
        |value: f64| if value != 0.0 && value.abs() < 0.01 { format!("{value:.5}") } else { format!("{value:.3}") };
    let optional = |value: Option<f64>| value.map(number).unwrap_or_default();
    for measurement in &calibration.measurements {
        table.push_record([
            format!("{:?}", measurement.property).to_lowercase(),
            number(measurement.asked),
            number(measurement.measured),
            format!("{} … {}", number(measurement.interval.low), number(measurement.interval.high)),
            optional(measurement.p50),
            optional(measurement.p99),
            measurement.samples.to_string(),
            if measurement.within { "✓".to_owned() } else { "off".to_owned() },
        ]);
    }
    println!("{}", with_states(table, 7));
    println!("delays in ms, rates in bit/s, the rest as shares; {} ms", calibration.took_ms);
    for reason in &calibration.reasons {
        println!("not faithful: {reason}");
    }
}
