//! The programs of services.

use std::collections::BTreeMap;

use damc_mgmt::config::{Ready, Restart};

use super::decode::{Fields, Reader};
use super::document::Yaml;
use super::mistake::{MistakeKind as Kind, did_you_mean};
use crate::topology::{Foreign, Run};

/// How long a program may take to be ready where the file says nothing, ns.
const READY_WITHIN_NS: u64 = 15_000_000_000;
/// What a program can be configured with.
const PROGRAM_KEYS: [&str; 5] = ["env", "cwd", "ready", "within", "restart"];
const READY_RULE: &str = "write { port: 80 }, { http: /health, port: 80 } or { line: some text it prints }";

impl Reader<'_> {
    /// The program of a service, if it has one.
    pub(super) fn run(&mut self, fields: &Fields<'_>) -> Option<Run> {
        let Some(run) = fields.get("run") else {
            for key in PROGRAM_KEYS {
                if let Some(value) = fields.get(key) {
                    let help = "add the program, such as `run: [python3, -m, http.server, \"80\"]`";
                    self.mistake(
                        Kind::MissingKey,
                        value,
                        format!("`{key}` is that of a program, and there is no `run`"),
                        help,
                    );
                }
            }
            return None;
        };
        let argv = self.command(run, "run");
        let env = fields.get("env").map(|env| self.variables(env)).unwrap_or_default();
        let cwd = fields.get("cwd").and_then(|cwd| self.scalar_text(cwd, "cwd", "a folder, from that of this file on"));
        let ready = fields.get("ready").and_then(|ready| self.ready(ready)).unwrap_or_default();
        let within_ns = fields.get("within").and_then(|within| self.time(within, "within")).unwrap_or(READY_WITHIN_NS);
        let restart = fields.get("restart").and_then(|restart| self.restart(restart)).unwrap_or_default();
        Some(Run { argv: argv?, env, cwd, ready, within_ns, restart })
    }

    /// The foreign implementation of a node, if it has one.
    pub(super) fn foreign(&mut self, fields: &Fields<'_>) -> Option<Foreign> {
        let Some(exec) = fields.get("exec") else {
            if let Some(env) = fields.get("env") {
                let help = "add the program, such as `exec: [./their-sr, \"{config}\"]`";
                self.mistake(Kind::MissingKey, env, "`env` is that of a program, and there is no `exec`", help);
            }
            return None;
        };
        let argv = self.command(exec, "exec");
        let env = fields.get("env").map(|env| self.variables(env)).unwrap_or_default();
        Some(Foreign { argv: argv?, env, folder: None })
    }

    fn variables(&mut self, value: &Yaml) -> BTreeMap<String, String> {
        let entries = self.map(value, "env").unwrap_or_default();
        let mut variables = BTreeMap::new();
        for (name, key, value) in entries {
            if name.is_empty() || name.contains(['=', '\0']) {
                self.mistake(
                    Kind::BadName,
                    key,
                    format!("`{}` is no name of a variable", name.escape_debug()),
                    "a text without `=`",
                );
                continue;
            }
            if let Some(text) = self.scalar_text(value, "a variable", "write its value as text") {
                variables.insert(name.to_owned(), text);
            }
        }
        variables
    }

    fn ready(&mut self, value: &Yaml) -> Option<Ready> {
        let fields = self.fields(value, "`ready`", &["port", "http", "line"])?;
        let port = fields.get("port").and_then(|port| self.number(port, "port", 1, u32::from(u16::MAX)));
        let port = port.and_then(|port| u16::try_from(port).ok());
        let http = fields.get("http").and_then(|http| self.scalar_text(http, "http", READY_RULE));
        let line = fields.get("line").and_then(|line| self.scalar_text(line, "line", READY_RULE));
        match (port, http, line) {
            (Some(port), Some(http), None) if http.starts_with('/') && !http.contains(char::is_whitespace) => {
                Some(Ready::Http { http, port })
            }
            (Some(port), None, None) => Some(Ready::Port { port }),
            (None, None, Some(line)) if !line.is_empty() => Some(Ready::Line { line }),
            _ => {
                self.mistake(Kind::WrongShape, value, "`ready` says not when the program is ready", READY_RULE);
                None
            }
        }
    }

    fn restart(&mut self, value: &Yaml) -> Option<Restart> {
        const KNOWN: [(&str, Restart); 3] =
            [("always", Restart::Always), ("on-failure", Restart::OnFailure), ("never", Restart::Never)];
        let help = "one of always, on-failure, never";
        let text = self.scalar_text(value, "restart", help)?;
        let found = KNOWN.iter().find(|(name, _)| *name == text).map(|(_, restart)| *restart);
        if found.is_none() {
            let hint = did_you_mean(&text, KNOWN.iter().map(|(name, _)| *name));
            let help = if hint.is_empty() { help.to_owned() } else { format!("{hint} ({help})") };
            self.mistake(Kind::UnknownValue, value, format!("`{text}` is no restart policy"), help);
        }
        found
    }
}
