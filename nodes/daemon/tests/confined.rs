//! What a program of a service can do to the host, to other nodes and to other programs: nothing.

#[allow(dead_code, reason = "each test needs a part of it")]
mod domain;
#[path = "../../link/tests/namespace/mod.rs"]
mod namespace;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use damc_mgmt::config::{ConfineConfig, Ready, Restart, RunConfig};
use domain::{Folder, Node, configurations, interface, log_of, until};
use namespace::in_private_namespace;

/// Tries everything, notes what it got, and stays. Each line is a word and what followed; `refused` where nothing did.
const TRIES: &str = r#"
note() { what=$1; shift; got=$("$@" 2>/dev/null) && echo "$what: ${got:-done}" || echo "$what: refused"; }
{
    note other-key cat "$OTHER_KEY"
    note own-key head -n 1 "$DAMC_KEY"
    note host-file sh -c 'echo x > "$HOST_FILE"'
    note own-file sh -c 'echo x > "$TMPDIR/x"'
    note run touch /run/x
    note mount mount -t tmpfs none "$TMPDIR"
    note setting sh -c 'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'
    note device sh -c 'echo x > /dev/null'
    note devices sh -c 'ls /dev | tr "\n" " "'
    note permitted sh -c 'grep -E "^Cap(Prm|Eff|Bnd|Inh|Amb)" /proc/self/status | cut -f 2 | sort -u'
    note privileges sh -c 'grep NoNewPrivs /proc/self/status | cut -f 2'
    note processes sh -c 'ls /proc | grep -c "^[0-9]"'
    note agent kill -9 "$AGENT"
} > "$TMPDIR/tried"
trap 'echo told > "$TMPDIR/ended"; exit 0' TERM
echo tried
sleep 1000 & wait
"#;

fn program(env: &[(&str, String)]) -> RunConfig {
    RunConfig {
        argv: ["sh", "-c", TRIES].map(str::to_owned).into(),
        env: env.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        cwd: "/".into(),
        ready: Ready::Line { line: "tried".to_owned() },
        ready_within_ms: 10_000,
        restart: Restart::Never,
    }
}

#[test]
fn a_program_has_no_permission_no_key_but_its_own_and_writes_in_its_folder_alone() {
    in_private_namespace(|links| {
        let links_of = [("pod-1", "sg-1")];
        links.pair(&interface("pod-1", "sg-1"), &interface("sg-1", "pod-1"));
        let all_labs = Folder::new("confined");
        let lab = all_labs.path().join("lab");
        fs::create_dir(&lab).unwrap();
        let other = lab.join("pod-2.pem");
        fs::write(&other, "a secret").unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
        let escape = std::env::temp_dir().join(format!("damc-escape-{}", std::process::id()));
        let mut configs = configurations(&lab, &links_of, &[("pod-1", &["/A/1"])]);
        let config = configs.get_mut("pod-1").unwrap();
        let folder = lab.join("pods/pod-1");
        config.confine = Some(ConfineConfig { hidden: vec![all_labs.path().to_owned()], folder: folder.clone() });
        config.services[0].run = Some(program(&[
            ("OTHER_KEY", other.display().to_string()),
            ("HOST_FILE", escape.display().to_string()),
            // Process 1 of the host's view is nobody's to end; the test's own process is as good a victim as the agent.
            ("AGENT", std::process::id().to_string()),
        ]));
        let node = Node::start(&lab, config);
        let view = until(
            "the program has tried",
            || node.get("/services"),
            |view| view["services"][0]["state"] == "ready" || view["services"][0]["ended"].is_string(),
        );
        let text = fs::read_to_string(folder.join("tried")).unwrap_or_default();
        let tried: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(": ")).collect();
        let of =
            |what: &str| *tried.get(what).unwrap_or_else(|| panic!("{what}: {text} {view} {}", log_of(&lab, "pod-1")));
        for what in ["other-key", "host-file", "run", "mount", "setting", "agent"] {
            assert_eq!(of(what), "refused", "{what}: {text}");
        }
        assert_eq!(of("own-key"), "-----BEGIN PRIVATE KEY-----", "{text}");
        assert_eq!((of("own-file"), of("device")), ("done", "done"), "{text}");
        assert_eq!((of("permitted"), of("privileges")), ("0000000000000000", "1"), "{text}");
        assert!(!of("devices").contains("sd") && of("devices").contains("null"), "{text}");
        assert!(of("processes").parse::<u32>().unwrap() < 10, "its own only: {text}");
        assert!(!escape.exists());
        // It is told to end, as it would be without confinement.
        assert_eq!(node.order(r#"{"order":"stop-service","prefix":"/A/1"}"#).0, 200);
        until("the program has ended", || folder.join("ended").exists(), |ended| *ended);
    });
}
