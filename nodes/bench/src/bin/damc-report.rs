//! `damc-report FOLDER`: takes what a bench measured as JSON on standard input, writes `NAME.json` and `NAME.md` into the
//! folder, and prints the JSON, in which samples have become medians and spread.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use damc_bench::{Document, Machine};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder] = arguments.as_slice() else {
        eprintln!("usage: damc-report FOLDER < MEASURED.json");
        return ExitCode::from(2);
    };
    match report(Path::new(folder)) {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("damc-report: {why}");
            ExitCode::FAILURE
        }
    }
}

fn report(folder: &Path) -> Result<String, String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|e| format!("cannot read standard input: {e}"))?;
    let measured = serde_json::from_str(&text).map_err(|e| format!("standard input: {e}"))?;
    let document = Document::new(measured, Machine::here())?;
    document.write(folder).map_err(|e| format!("cannot write to {}: {e}", folder.display()))?;
    serde_json::to_string(&document).map_err(|e| e.to_string())
}
