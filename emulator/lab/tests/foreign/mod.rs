//! What foreign programs are given, and what is told of those that do not come up (`nodes/LAB.md`).

use std::collections::BTreeMap;

use damc_impair::DirectionSpec;
use damc_lab::LabError;
use damc_lab::job::{Choices, Job};
use damc_mgmt::view::{CountersView, NeighborsView};
use damc_topology::plan::{ForeignProgram, Program};
use libtest_mimic::Failed;

use crate::support::{self, Test, lab_name, run};

/// The tests.
pub const TESTS: &[(&str, Test)] = &[
    ("a_foreign_program_is_told_its_place_and_names_itself", a_foreign_program_is_told_its_place_and_names_itself),
    ("what_a_foreign_node_lacks_is_not_offered", what_a_foreign_node_lacks_is_not_offered),
    ("who_is_not_ready_is_named_and_its_log_is_kept", who_is_not_ready_is_named_and_its_log_is_kept),
    ("who_ends_at_once_is_named_and_its_log_is_kept", who_ends_at_once_is_named_and_its_log_is_kept),
];

/// Two nodes of which the left one is this shell program.
fn job(lab: &str, script: &str, env: &[(&str, &str)]) -> Job {
    let mut job = support::pair(lab, DirectionSpec::default());
    let left = job.plan.processes.iter_mut().find(|process| process.node == "left").expect("the left node");
    left.program = Program::Foreign(ForeignProgram {
        argv: ["/bin/sh", "-c", script, "{node}"].map(str::to_owned).into(),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>(),
        folder: "/usr".into(),
    });
    job
}

/// The same, with little time to be ready.
fn impatient(job: Job) -> Job {
    Job { choices: Choices { ready_within_ms: 500, ..job.choices }, ..job }
}

fn a_foreign_program_is_told_its_place_and_names_itself() -> Result<(), Failed> {
    let name = lab_name("told");
    let script = r#"echo "version $0 in $(pwd) with $WORD and $1"; echo ready; exec sleep 1000"#;
    run(async {
        let lab = support::up(job(&name, script, &[("WORD", "{dir}")])).await?;
        let status = lab.status().await?;
        let of = |node: &str| status.nodes.iter().find(|row| row.name == node).expect("a row");
        let directory = lab.directory().path().display();
        let config = lab.directory().node_config("left").display().to_string();
        assert_eq!(of("left").version, Some(format!("left in /usr with {directory} and {config}")));
        assert!(of("left").program.starts_with("/bin/sh -c "), "{}", of("left").program);
        assert_eq!(of("right").version, None);
        lab.down().await?;
        Ok(())
    })
}

fn what_a_foreign_node_lacks_is_not_offered() -> Result<(), Failed> {
    let name = lab_name("lacks");
    run(async {
        let lab = support::up(job(&name, support::IDLE, &[])).await?;
        let refused = lab.show::<CountersView>("left").await.expect_err("there is no socket");
        assert_eq!(refused.one_line(), "left offers no /counters");
        assert!(matches!(lab.show::<NeighborsView>("left").await, Err(LabError::NotOffered { .. })));
        lab.down().await?;
        Ok(())
    })
}

/// Why a job does not come up, and where the logs are.
async fn refused(job: Job) -> Result<(String, std::path::PathBuf), Failed> {
    match support::up(job).await {
        Err(LabError::NotBuilt { error, logs }) => Ok((error.one_line(), logs)),
        Err(other) => Err(format!("another error: {other}").into()),
        Ok(_) => Err("it came up".into()),
    }
}

fn who_is_not_ready_is_named_and_its_log_is_kept() -> Result<(), Failed> {
    let name = lab_name("late");
    run(async {
        let script = "echo waiting for godot >&2; exec sleep 1000";
        let (error, logs) = refused(impatient(job(&name, script, &[]))).await?;
        assert_eq!(error, "left has not said ready within 0.5 s; the last lines of left:\n  waiting for godot");
        assert_eq!(std::fs::read_to_string(logs.join("left.log"))?, "waiting for godot\n");
        assert!(!support::directory(&name).exists());
        std::fs::remove_dir_all(logs)?;
        Ok(())
    })
}

fn who_ends_at_once_is_named_and_its_log_is_kept() -> Result<(), Failed> {
    let name = lab_name("dead");
    run(async {
        let (error, logs) = refused(job(&name, "echo no such module >&2; exit 3", &[])).await?;
        assert_eq!(error, "left ended unasked: exit code 3; the last lines of left:\n  no such module");
        assert!(logs.join("left.log").exists() && logs.join("lab.log").exists());
        std::fs::remove_dir_all(logs)?;
        Ok(())
    })
}
