//! Building, changing and ending labs of dummy processes.

use damc_lab::control::{LabState, LinkChange, LinkService, NodeAction, NodeState};
use damc_lab::relay::{DirectionChange, DirectionSpec};
use libtest_mimic::Failed;

use crate::support::{self, Host, IDLE, Test, inside, lab_name, run};

/// The tests.
pub const TESTS: &[(&str, Test)] = &[("a_lab_comes_up_and_leaves_nothing", a_lab_comes_up_and_leaves_nothing)];

fn a_lab_comes_up_and_leaves_nothing() -> Result<(), Failed> {
    let name = lab_name("clean");
    let before = Host::now();
    run(async {
        let lab = support::up(support::pair(&name, DirectionSpec::default())).await?;
        let status = lab.status().await?;
        assert_eq!(status.state, LabState::Running);
        assert!(status.nodes.iter().all(|node| node.state == NodeState::Ready));
        assert_eq!(status.links[0].service, LinkService::Plain);
        assert_eq!(Host::now(), before);
        eprintln!("{status:#?}");
        eprintln!("{}", inside(&name, "left", &["ip", "-d", "link"])?);
        lab.down().await?;
        Ok::<_, Failed>(())
    })?;
    assert_eq!(Host::now(), before);
    assert!(!support::directory(&name).exists());
    Ok(())
}
