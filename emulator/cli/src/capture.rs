//! `damc capture`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use damc_lab::recording::{Record, Recording, Wanted, pcapng_record, pcapng_start};
use damc_lab::{Lab, LabError};

use crate::exit::{Exit, Failure, Outcome};
use crate::session::{block_on, of_lab};

/// Pause between two looks at the recording.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Watch the frames at a node's ports, one line each, or write them as pcapng.
///
/// Every lab records all frames at all ports with the kernel's stamps; this reads along until Ctrl-C, or reads what is
/// there with --all.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node.
    pub node: String,
    /// One port, named after the neighbour; all where absent.
    pub port: Option<String>,
    /// Write pcapng.
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Stop after so many frames.
    #[arg(short, long)]
    pub count: Option<u64>,
    /// From the beginning of the lab to now, instead of from now on.
    #[arg(long)]
    pub all: bool,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(args: &Args) -> Outcome {
    block_on(async {
        let lab = Lab::attach(args.lab.as_deref()).map_err(of_lab)?;
        lab.management(&args.node).map_err(of_lab)?;
        if let Some(port) = &args.port
            && lab.job().plan.interface(&args.node, port).is_none()
        {
            return Err(Failure::usage(anyhow::anyhow!("{} has no port {port}", args.node)));
        }
        let mut recording = lab.recording().await.map_err(of_lab)?;
        if !args.all {
            recording.skip_to_end().map_err(of_lab)?;
        }
        let mut sink = Sink::open(args, &recording)?;
        let wanted = Wanted { node: Some(args.node.clone()), port: args.port.clone(), ..Wanted::default() };
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
            if left == 0 || args.all || !live {
                return Ok(Exit::Passed);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
}

/// Where frames go.
enum Sink {
    Lines { began_ns: Option<u64> },
    Pcapng(BufWriter<File>),
}

impl Sink {
    fn open(args: &Args, recording: &Recording) -> Result<Self, Failure> {
        let Some(path) = &args.write else { return Ok(Self::Lines { began_ns: None }) };
        let file = File::create(path).map_err(LabError::io(format!("create {}", path.display()))).map_err(of_lab)?;
        let mut out = BufWriter::new(file);
        let port = args.port.as_ref().map(|port| format!(", port {port}")).unwrap_or_default();
        let comment = format!("lab {}, node {}{port}", recording.header().lab, args.node);
        pcapng_start(&mut out, recording.header(), &comment)?;
        Ok(Self::Pcapng(out))
    }

    fn take(&mut self, recording: &Recording, record: &Record) -> std::io::Result<()> {
        match self {
            Self::Pcapng(out) => pcapng_record(out, recording.header(), record),
            Self::Lines { began_ns } => {
                let began_ns = *began_ns.get_or_insert(record.at_ns);
                let way = if record.sent { "→" } else { "←" };
                let seconds = record.at_ns.saturating_sub(began_ns) as f64 / 1e9;
                let pdu = damc_wire::pretty::pdu(record.pdu());
                writeln!(std::io::stdout(), "{seconds:12.6} {} {way} {}  {pdu}", record.node, record.port)
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
