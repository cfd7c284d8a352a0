//! A sweep as a job array of a Slurm cluster. The folder of the sweep must be one that all its machines see.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, anyhow};
use damc_sweep::SweepPlan;

use super::folder::SweepFolder;
use crate::exit::{Exit, Failure, Outcome};

/// Tasks of an array: Slurm takes 1001 by default (MaxArraySize), and a task may make several runs.
const MOST_TASKS: usize = 1000;

/// Hands the runs of a plan to Slurm.
///
/// # Errors
/// There is no `sbatch` here, or it refuses.
pub fn submit(folder: &SweepFolder, plan: &SweepPlan, options: &[String]) -> Outcome {
    let tasks = plan.size().min(MOST_TASKS);
    let executable = std::env::current_exe()?;
    folder.write("array.sh", &script(&executable, folder.path(), &plan.topology, tasks))?;
    std::fs::create_dir_all(folder.path().join("slurm"))?;
    let script = folder.path().join("array.sh");
    let output = Command::new("sbatch").arg("--parsable").args(options).arg(&script).output();
    let output =
        output.context("cannot start sbatch; --on slurm needs a machine of a Slurm cluster").map_err(|error| {
            // What this host lacks makes nothing wrong.
            Failure { exit: Exit::Inconclusive, error }
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(anyhow!("sbatch refused {}: {}", script.display(), said.trim()).into());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    // With --parsable: the job, and the cluster behind a semicolon where there are several.
    let job = said.trim().split(';').next().unwrap_or_default().to_owned();
    println!("job {job}: {tasks} tasks for {} runs; `squeue --job {job}` shows them", plan.size());
    println!("when they are done: damc sweep collect {}", folder.path().display());
    Ok(Exit::Passed)
}

/// The script of the array. A task that is put back into the queue makes only the runs that are not whole.
fn script(executable: &Path, folder: &Path, topology: &str, tasks: usize) -> String {
    let (quoted_folder, executable) = (quoted(folder), quoted(executable));
    let last = tasks - 1;
    // A `%` in this path would be a pattern to Slurm.
    let output = folder.join("slurm").display().to_string().replace('%', "%%");
    format!(
        "#!/bin/sh\n\
         #SBATCH --job-name=damc-{topology}\n\
         #SBATCH --array=0-{last}\n\
         #SBATCH --ntasks=1\n\
         #SBATCH --requeue\n\
         #SBATCH --open-mode=append\n\
         #SBATCH --output=\"{output}/%a.txt\"\n\
         exec {executable} sweep task {quoted_folder} \"$SLURM_ARRAY_TASK_ID\" {tasks}\n"
    )
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_one_array() {
        let text = script(Path::new("/opt/damc's/damc"), Path::new("/shared/a b/line-1"), "line", 20);
        insta::assert_snapshot!(text);
    }
}
