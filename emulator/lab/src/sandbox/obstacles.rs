//! Why namespaces cannot be made here, and what helps: told by what the kernel says of this process and of itself, because
//! its error codes say little, and one of them ("no space left on device") says something else.

use std::fs;
use std::path::Path;

use nix::errno::Errno;

/// The namespaces that labs need, as the kernel's limits are named.
const KINDS: [&str; 6] = ["user", "mnt", "pid", "net", "ipc", "uts"];
/// Bit of the permission to administer the system, in the masks of /proc.
const SYS_ADMIN: u64 = 1 << 21;
/// A limit below this is taken for one that labs may reach: each node takes a network and a host name of its own.
const FEW: u64 = 100;

/// What the kernel says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// This process may administer the system.
    pub sys_admin: bool,
    /// A seccomp filter decides about its system calls.
    pub seccomp: bool,
    /// The AppArmor profile it is confined by.
    pub apparmor: Option<String>,
    /// AppArmor takes the permissions of user namespaces that unprivileged processes make.
    pub apparmor_restricts: bool,
    /// `kernel.unprivileged_userns_clone` is 0.
    pub userns_switched_off: bool,
    /// Limits that are zero or low, with their values.
    pub low_limits: Vec<(&'static str, u64)>,
    /// The container it runs in.
    pub container: Option<&'static str>,
}

/// One obstacle: what it is called, how it is here, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// seccomp, AppArmor, sysctl, limits or container.
    pub what: &'static str,
    /// How it is.
    pub detail: String,
    /// What helps.
    pub remedy: String,
}

impl Host {
    /// Looks at this host and this process.
    #[must_use]
    pub fn look() -> Self {
        Self::look_below(Path::new("/"))
    }

    /// The same below another root, where copies of these files are.
    #[must_use]
    pub fn look_below(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).map(|text| text.trim().to_owned()).ok();
        let status = read("proc/self/status").unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let permitted = field("CapEff").and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        let profile = read("proc/self/attr/apparmor/current").or_else(|| read("proc/self/attr/current"));
        let limit = |kind: &&'static str| {
            let value = read(&format!("proc/sys/user/max_{kind}_namespaces"))?.parse().ok()?;
            (value < FEW).then_some((*kind, value))
        };
        Self {
            sys_admin: permitted & SYS_ADMIN != 0,
            seccomp: field("Seccomp").is_some_and(|mode| mode.trim() == "2"),
            apparmor: profile.filter(|name| !name.is_empty() && !name.starts_with("unconfined") && name.contains('(')),
            apparmor_restricts: read("proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1"),
            userns_switched_off: read("proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0"),
            low_limits: KINDS.iter().filter_map(limit).collect(),
            container: container(root, &read("proc/1/cgroup").unwrap_or_default()),
        }
    }

    /// What stands in the way of labs, or may: the likeliest cause first.
    #[must_use]
    pub fn obstacles(&self) -> Vec<Obstacle> {
        let unprivileged = !self.sys_admin;
        [
            self.limits(),
            self.switch().filter(|_| unprivileged),
            self.filter().filter(|_| unprivileged),
            self.profile(),
            self.restriction().filter(|_| unprivileged),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// What a refusal of the kernel means here, in one line.
    #[must_use]
    pub fn explain(&self, errno: Errno) -> String {
        let likely: Vec<String> = self
            .obstacles()
            .into_iter()
            .filter(|obstacle| (errno == Errno::ENOSPC) == (obstacle.what == "namespace limits"))
            .map(|Obstacle { what, detail, remedy }| format!("{what}: {detail}; {remedy}"))
            .collect();
        let what = match errno {
            // The kernel's word for a full table of namespaces is that of a full disk.
            Errno::ENOSPC | Errno::EUSERS => {
                "the limit of namespaces (sysctl user.max_*_namespaces) is reached".to_owned()
            }
            Errno::EINVAL => "the kernel lacks one of the namespaces, or the process has threads".to_owned(),
            Errno::ENOSYS => "the kernel has no namespaces".to_owned(),
            other => std::io::Error::from(other).to_string(),
        };
        let unknown = match errno {
            Errno::ENOSPC | Errno::EUSERS => {
                vec![
                    "end other labs and containers, or `sysctl -w user.max_net_namespaces=10000` (mnt, pid, uts, …)"
                        .into(),
                ]
            }
            Errno::EPERM | Errno::EACCES => vec!["`damc doctor` says what it finds".to_owned()],
            _ => Vec::new(),
        };
        [vec![what], if likely.is_empty() { unknown } else { likely }].concat().join("; ")
    }

    fn limits(&self) -> Option<Obstacle> {
        let (kind, _) = self.low_limits.first()?;
        let values = self.low_limits.iter().map(|(kind, value)| format!("user.max_{kind}_namespaces is {value}"));
        Some(Obstacle {
            what: "namespace limits",
            detail: values.collect::<Vec<_>>().join(", "),
            remedy: format!("`sysctl -w user.max_{kind}_namespaces=10000` as root of the host"),
        })
    }

    fn switch(&self) -> Option<Obstacle> {
        self.userns_switched_off.then(|| Obstacle {
            what: "sysctl",
            detail: "kernel.unprivileged_userns_clone is 0".to_owned(),
            remedy: "`sysctl -w kernel.unprivileged_userns_clone=1` as root, or run as root".to_owned(),
        })
    }

    fn filter(&self) -> Option<Obstacle> {
        let remedy = match self.container {
            Some("Docker" | "Podman") => {
                "start the container with `--cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined`, or \
                 `--privileged`"
            }
            Some("Kubernetes") => "set the pod's `securityContext.seccompProfile.type` to `Unconfined`",
            _ => "run outside of what set the filter (a container, a service manager, a browser's sandbox)",
        };
        self.seccomp.then(|| Obstacle {
            what: "seccomp",
            detail: "a filter decides about system calls, and usual ones refuse namespaces".to_owned(),
            remedy: remedy.to_owned(),
        })
    }

    fn profile(&self) -> Option<Obstacle> {
        let name = self.apparmor.as_ref()?;
        let remedy = match self.container {
            Some(_) => "start the container with `--security-opt apparmor=unconfined`",
            None => "allow `userns`, `mount` and `capability` in that profile",
        };
        Some(Obstacle {
            what: "AppArmor",
            detail: format!("confined by {name}, which may refuse mounts"),
            remedy: remedy.to_owned(),
        })
    }

    fn restriction(&self) -> Option<Obstacle> {
        self.apparmor_restricts.then(|| Obstacle {
            what: "AppArmor",
            detail: "kernel.apparmor_restrict_unprivileged_userns is 1: user namespaces come without permissions"
                .to_owned(),
            remedy:
                "`sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, a profile with `userns,` for damc, or \
                     run as root"
                    .to_owned(),
        })
    }
}

/// The container that process 1 runs in.
fn container(root: &Path, cgroup: &str) -> Option<&'static str> {
    let there = |path: &str| root.join(path).exists();
    let named = |word: &str| cgroup.contains(word);
    if there("var/run/secrets/kubernetes.io") || named("kubepods") {
        Some("Kubernetes")
    } else if there(".dockerenv") || named("docker") {
        Some("Docker")
    } else if there("run/.containerenv") || named("libpod") {
        Some("Podman")
    } else if named("lxc") {
        Some("LXC")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A copy of a host's files, removed at the end.
    struct Copy(PathBuf);

    impl Copy {
        fn of(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("damc-host-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }

        fn host(&self) -> Host {
            Host::look_below(&self.0)
        }
    }

    impl Drop for Copy {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const ORDINARY: &str = "Name:\tdamc\nCapEff:\t0000000000000000\nSeccomp:\t0\n";

    fn whats(host: &Host) -> Vec<&'static str> {
        host.obstacles().into_iter().map(|obstacle| obstacle.what).collect()
    }

    #[test]
    fn a_full_table_of_namespaces_is_no_full_disk() {
        let copy = Copy::of("full", &[("proc/self/status", ORDINARY), ("proc/sys/user/max_net_namespaces", "3\n")]);
        let said = copy.host().explain(Errno::ENOSPC);
        assert!(said.contains("user.max_net_namespaces is 3") && said.contains("sysctl -w"), "{said}");
        let unknown = Host::default().explain(Errno::ENOSPC);
        for said in [said, unknown] {
            assert!(said.contains("limit of namespaces") && !said.to_lowercase().contains("space left"), "{said}");
        }
    }

    #[test]
    fn docker_seccomp_and_apparmor_are_told_apart() {
        let status = "CapEff:\t00000000a80425fb\nSeccomp:\t2\n";
        let files = [
            ("proc/self/status", status),
            (".dockerenv", ""),
            ("proc/self/attr/current", "docker-default (enforce)\n"),
        ];
        let copy = Copy::of("docker", &files);
        let host = copy.host();
        assert_eq!((host.container, whats(&host)), (Some("Docker"), vec!["seccomp", "AppArmor"]));
        let said = host.explain(Errno::EPERM);
        assert!(said.contains("seccomp=unconfined") && said.contains("apparmor=unconfined"), "{said}");
    }

    #[test]
    fn sysctls_are_named_with_their_remedy() {
        let files = [("proc/self/status", ORDINARY), ("proc/sys/kernel/unprivileged_userns_clone", "0\n")];
        let said = Copy::of("clone", &files).host().explain(Errno::EPERM);
        assert!(said.contains("sysctl -w kernel.unprivileged_userns_clone=1"), "{said}");
        let restricted = ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n");
        let files = [("proc/self/status", ORDINARY), restricted, ("proc/self/attr/current", "unconfined\n")];
        let host = Copy::of("restrict", &files).host();
        assert_eq!(whats(&host), ["AppArmor"]);
        assert!(host.explain(Errno::EACCES).contains("apparmor_restrict_unprivileged_userns=0"));
    }

    #[test]
    fn what_may_administer_the_system_needs_no_user_namespace() {
        let status = "CapEff:\t000001ffffffffff\nSeccomp:\t2\n";
        let files = [("proc/self/status", status), ("proc/sys/kernel/unprivileged_userns_clone", "0\n")];
        assert_eq!(whats(&Copy::of("root", &files).host()), Vec::<&str>::new());
    }
}
