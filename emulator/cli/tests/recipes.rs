//! The steps of the GitHub action and of the GitLab job, run as their services would, as far as they go without them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use regex::Regex;
use serde_yaml::Value;

/// The repository's folder.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn root() -> PathBuf {
    Path::new(ROOT).canonicalize().expect("the repository")
}

fn yaml(path: &str) -> Value {
    let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A folder of one job, and the files that the service gives it.
struct Job(PathBuf);

impl Job {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("damc-recipe-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        Self(folder)
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).unwrap_or_default()
    }

    fn bash(&self, line: &str, folder: &Path, env: &BTreeMap<String, String>) -> Output {
        let mut command = Command::new("bash");
        command.args(["-e", "-o", "pipefail", "-c", line]).current_dir(folder).envs(env);
        command.env("NO_COLOR", "1").env("DAMC_RUN_DIR", self.0.join("run")).output().expect("bash starts")
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn binaries() -> String {
    Path::new(env!("CARGO_BIN_EXE_damc")).parent().expect("a folder").display().to_string()
}

/// Runs the action with these inputs: what each step printed, and the exit code of the job.
fn action(job: &Job, given: &[(&str, &str)]) -> (String, i32) {
    let action = yaml(".github/actions/damc/action.yml");
    let inputs = action["inputs"].as_mapping().expect("inputs").iter();
    let mut inputs: BTreeMap<String, String> = inputs.map(|(name, of)| (text(name), text(&of["default"]))).collect();
    for (name, value) in given {
        assert!(inputs.insert((*name).to_owned(), (*value).to_owned()).is_some(), "the action has no input {name}");
    }
    let input = Regex::new(r"\$\{\{ inputs\.([a-z]+) \}\}").expect("a pattern");
    let (mut said, mut code) = (String::new(), 0);
    for step in action["runs"]["steps"].as_sequence().expect("steps") {
        // Upload of artefacts is the service's.
        let Some(line) = step["run"].as_str() else { continue };
        if code != 0 && step["if"].as_str() != Some("always()") {
            continue;
        }
        let mut env: BTreeMap<String, String> = [("GITHUB_ACTION_PATH", root().join(".github/actions/damc"))]
            .into_iter()
            .chain(["GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY"].map(|name| (name, job.0.join(name))))
            .map(|(name, path)| (name.to_owned(), path.display().to_string()))
            .collect();
        for (name, value) in step["env"].as_mapping().into_iter().flatten() {
            let value = text(value);
            let name_of = input.captures(&value).unwrap_or_else(|| panic!("{value} is no input"))[1].to_owned();
            env.insert(text(name), inputs[&name_of].clone());
        }
        let output = job.bash(line, &job.0, &env);
        said.push_str(&String::from_utf8_lossy(&output.stdout));
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        code = if code == 0 { output.status.code().unwrap_or(-1) } else { code };
    }
    (said, code)
}

#[test]
fn the_action_judges_and_keeps_what_it_found() {
    let job = Job::new("action");
    let binaries = binaries();
    let virtually = "--virtual --seed 1 --case 'fig-*'";
    let (said, code) = action(&job, &[("topology", "line"), ("arguments", virtually), ("binaries", &binaries)]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("PASSED line"), "{said}");
    assert!(job.read("GITHUB_OUTPUT").starts_with("verdict=passed\nreport=/"), "{}", job.read("GITHUB_OUTPUT"));
    assert!(job.read("GITHUB_STEP_SUMMARY").starts_with("# line: passed"), "{}", job.read("GITHUB_STEP_SUMMARY"));
    assert!(job.read("GITHUB_PATH").lines().any(|path| Path::new(path).join("damc").is_file()));
    assert!(job.read("results/junit.xml").contains("<testsuites name=\"damc line\""));
}

/// Whatever ends a run, the job ends with it, and an argument is never a command.
#[test]
fn the_action_fails_with_the_run() {
    let job = Job::new("wrong");
    let arguments = "--virtual --case 'no such; touch here' $(touch there)";
    let (said, code) = action(&job, &[("topology", "line"), ("arguments", arguments), ("binaries", &binaries())]);
    assert_eq!(code, 2, "{said}");
    assert!(job.read("GITHUB_OUTPUT").contains("verdict=wrong"), "{said}");
    assert!(!job.0.join("here").exists() && !job.0.join("there").exists(), "an argument was run");
    let (said, code) = action(&Job::new("nothing"), &[("binaries", "/nowhere")]);
    assert!(code == 2 && said.contains("there is no damc in /nowhere"), "{code}: {said}");
}

/// Failed and inconclusive cases become annotations, with what would end the line escaped.
#[test]
fn what_did_not_pass_is_annotated() {
    let job = Job::new("annotate");
    let latest = job.0.join("results/latest");
    std::fs::create_dir_all(&latest).expect("our own folder");
    let case = |id: &str, verdict: &str, reason: &str| {
        serde_json::json!({"id": id, "title": "two, three: four", "verdict": verdict, "reason": reason,
            "requirements": ["AUT-01", "AUT-02"]})
    };
    let cases = [case("a", "fail", "50% lost\nof all"), case("b", "pass", ""), case("c", "inconclusive", "busy")];
    let report = serde_json::json!({"cases": cases, "run": {"aborted": null}});
    std::fs::write(latest.join("report.json"), report.to_string()).expect("our own folder");
    std::fs::write(latest.join("report.md"), "# text\n").expect("our own folder");
    let steps = root().join(".github/actions/damc/steps");
    let output = job.bash(&format!("'{}' annotate", steps.display()), &job.0, &BTreeMap::new());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "::error title=a%3A two%2C three%3A four::50%25 lost%0Aof all (AUT-01 AUT-02)\n\
         ::warning title=c%3A two%2C three%3A four::busy (AUT-01 AUT-02)\n",
        "{output:?}"
    );
    for (ended, wanted, code) in [("3", "warn", 0), ("3", "fail", 3), ("1", "warn", 1), ("0", "fail", 0)] {
        std::fs::write(job.0.join("results/exit-code"), ended).expect("our own folder");
        let env = BTreeMap::from([("INCONCLUSIVE".to_owned(), wanted.to_owned())]);
        let output = job.bash(&format!("'{}' verdict", steps.display()), &job.0, &env);
        assert_eq!(output.status.code(), Some(code), "{ended} with {wanted}");
    }
}

#[test]
fn the_gitlab_job_judges() {
    let job = Job::new("gitlab");
    let template = yaml(".gitlab/damc.yml");
    let template = &template[".damc"];
    let variables = template["variables"].as_mapping().expect("variables").iter();
    let mut env: BTreeMap<String, String> = variables.map(|(name, value)| (text(name), text(value))).collect();
    let results = job.0.join("results").display().to_string();
    for (name, value) in [
        ("TOPOLOGY", "line"),
        ("ARGUMENTS", "--virtual --seed 1 --case fig-*"),
        ("BINARIES", &binaries()),
        ("RESULTS", &results),
    ] {
        assert!(env.insert(name.to_owned(), value.to_owned()).is_some(), "the job has no variable {name}");
    }
    for part in ["before_script", "script"] {
        for line in template[part].as_sequence().expect("lines").iter().map(text) {
            let output = job.bash(&line, &root(), &env);
            assert!(output.status.success(), "{line}: {output:?}");
        }
    }
    let junit = text(&template["artifacts"]["reports"]["junit"]).replace("$RESULTS", &results);
    assert!(std::fs::read_to_string(&junit).expect("the report").contains("damc line"), "{junit}");
    assert_eq!(template["allow_failure"]["exit_codes"], Value::from(3));
}
