//! `damc capture`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use damc_lab::recording::{Record, Recording, Wanted, pcapng_record, pcapng_start};
use damc_lab::{Lab, LabError};
use jiff::SignedDuration;

use crate::exit::{Exit, Failure, Outcome};
use crate::session::{block_on, of_lab};

/// Pause between two looks at the recording.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Watch the frames at a node's ports, one line each, or write them as pcapng.
///
/// Every lab records all frames at all ports with the kernel's stamps, the newest 256 MB of them; this reads along until
/// Ctrl-C, or reads what is there with --last or --all.
///
/// In Wireshark while they come: damc capture sr-left -w - | wireshark -X lua_script:nodes/wire/dissector/damc.lua -k -i -
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node; all where absent.
    pub node: Option<String>,
    /// One port, named after the neighbour; all where absent.
    pub port: Option<String>,
    /// Write pcapng; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Stop after so many frames.
    #[arg(short, long)]
    pub count: Option<u64>,
    /// The last span of time up to now, such as `30s` or `2m`, instead of from now on.
    #[arg(long, value_name = "SPAN", value_parser = span, conflicts_with = "all")]
    pub last: Option<Duration>,
    /// All that the recording still has, up to now.
    #[arg(long)]
    pub all: bool,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

fn span(text: &str) -> Result<Duration, String> {
    let span: SignedDuration = text.parse().map_err(|error| format!("{error}; write 30s, 500ms or 2m"))?;
    Duration::try_from(span).map_err(|_| "the past has positive spans".to_owned())
}

pub fn run(args: &Args) -> Outcome {
    block_on(async {
        let lab = Lab::attach(args.lab.as_deref()).map_err(of_lab)?;
        let wanted = wanted(args, &lab)?;
        let mut recording = lab.recording().await.map_err(of_lab)?;
        let from_now_on = !args.all && args.last.is_none();
        if from_now_on {
            recording.skip_to_end().map_err(of_lab)?;
        }
        let mut sink = Sink::open(args, &recording)?;
        let mut left = args.count.unwrap_or(u64::MAX);
        loop {
            let live = lab.directory().is_live();
            for record in recording.read(&wanted).map_err(of_lab)? {
                if left == 0 {
                    break;
                }
                sink.take(&recording, &record)?;
                left -= 1;
            }
            sink.flush()?;
            if left == 0 || !from_now_on || !live {
                return Ok(Exit::Passed);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
}

/// Which frames the arguments ask for.
fn wanted(args: &Args, lab: &Lab) -> Result<Wanted, Failure> {
    if let Some(node) = &args.node {
        lab.management(node).map_err(of_lab)?;
        if let Some(port) = &args.port
            && lab.job().plan.interface(node, port).is_none()
        {
            return Err(Failure::usage(anyhow::anyhow!("{node} has no port {port}")));
        }
    }
    let span_ns = args.last.map(|span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
    let now_ns = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map(|now| u64::try_from(Duration::from(now).as_nanos()).unwrap_or(u64::MAX))?;
    Ok(Wanted {
        node: args.node.clone(),
        port: args.port.clone(),
        from_ns: span_ns.map(|span_ns| now_ns.saturating_sub(span_ns)),
        ipv6: true,
        ..Wanted::default()
    })
}

/// Where frames go.
enum Sink {
    Lines { began_ns: Option<u64> },
    Pcapng(BufWriter<Box<dyn Write>>),
}

impl Sink {
    fn open(args: &Args, recording: &Recording) -> Result<Self, Failure> {
        let Some(path) = &args.write else { return Ok(Self::Lines { began_ns: None }) };
        let file: Box<dyn Write> = if path == Path::new("-") {
            Box::new(std::io::stdout())
        } else {
            Box::new(File::create(path).map_err(LabError::io(format!("create {}", path.display()))).map_err(of_lab)?)
        };
        let mut out = BufWriter::new(file);
        let node = args.node.as_ref().map(|node| format!(", node {node}")).unwrap_or_default();
        let port = args.port.as_ref().map(|port| format!(", port {port}")).unwrap_or_default();
        let comment = format!("lab {}{node}{port}", recording.header().lab);
        pcapng_start(&mut out, recording.header(), &comment)?;
        Ok(Self::Pcapng(out))
    }

    fn take(&mut self, recording: &Recording, record: &Record) -> std::io::Result<()> {
        match self {
            Self::Pcapng(out) => pcapng_record(out, recording.header(), record, &[]),
            Self::Lines { began_ns } => {
                let began_ns = *began_ns.get_or_insert(record.at_ns);
                let way = if record.sent { "→" } else { "←" };
                let seconds = record.at_ns.saturating_sub(began_ns) as f64 / 1e9;
                let line = damc_wire::pretty::ethernet(&record.frame);
                writeln!(std::io::stdout(), "{seconds:12.6} {} {way} {}  {line}", record.node, record.port)
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Pcapng(out) => out.flush(),
            Self::Lines { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit_and_a_positive_value() {
        assert_eq!(span("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(span("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert!(span("30").is_err());
        assert!(span("-3s").is_err());
    }
}
