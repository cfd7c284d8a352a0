//! What the relay carries and how late it is: `cargo bench -p damc-lab --bench relay [-- --out FOLDER] [--rounds N]`.
//!
//! One link, frames of 100 bytes. First as many as the sender can send, counted behind the relay, without delay and with a
//! millisecond of it; then half of what is asked for, and half of what came through, with one frame in a millisecond timed
//! from before it is sent to the kernel's stamp behind the relay. Then what the relay's thread costs, idle and for frames one
//! by one, and the long calibration: what was asked of the link beside what was measured.

#[path = "../tests/wire/mod.rs"]
mod wire;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use damc_bench::{Cell, Document, Figure, Machine, Measured, Report, Table, frames_received};
use damc_impair::{DirectionChange, DirectionSpec};
use damc_lab::relay::calibrate::{CalibrationLink, Depth, Measurement, Tolerance, calibrate};
use damc_lab::relay::{RelayClient, RelayConfig, RelayLink};
use damc_link::{ETHERNET_HEADER, Filter, RawSocket, ReceiveArena, Transmit, ethernet_header, mac, monotonic_now};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Rounds of each measurement.
const ROUNDS: usize = 7;
/// How long frames are sent in one round.
const ROUND: Duration = Duration::from_millis(500);
/// Frames a second that a link is asked to carry.
const ASKED: f64 = 150_000.0;
/// Bytes of a frame, Ethernet header included.
const SIZE: usize = 100;
/// Frames of one call at full speed.
const BATCH: usize = 64;
/// Frames sent one by one in a round.
const ALONE: u32 = 500;
/// Delay of the delayed link.
const DELAY: Duration = Duration::from_millis(1);
/// A frame is timed this often, and as many more as the rate asks for go with it.
const SPACING: Duration = Duration::from_millis(1);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |key: &str| arguments.iter().skip_while(|a| *a != key).nth(1);
    let rounds = value("--rounds").map_or(ROUNDS, |n| n.parse().expect("--rounds takes a number"));
    let out = value("--out").map(PathBuf::from);
    wire::with_relay(link(), move |client| {
        let mut report = Report::new();
        keep_apart();
        let mut load = Load::new();
        let mut fastest = 0.0;
        for (delay, target) in [(Duration::ZERO, ""), (DELAY, "≥ 150 k/s")] {
            set_delay(client, delay);
            let samples = (0..rounds).map(|_| load.flood()).collect();
            let figure = Figure::new("relay", &format!("frames through, {SIZE} B, {delay:?} of delay"), samples);
            fastest = figure.per_second();
            report.add(figure.target(target));
        }
        for (rate, target) in [(ASKED / 2.0, "p99 ≤ 200 µs"), (fastest / 2.0, "")] {
            let late = (0..rounds).flat_map(|_| load.timers(rate)).collect();
            let figure = Figure::new("relay", &format!("later than {DELAY:?} at {:.0} k/s", rate / 1000.0), late);
            let note = format!("p99 {:.0} µs", figure.p99_ns / 1000.0);
            report.add(figure.target(target).note(note));
        }
        for figure in cost(client, &load, rounds) {
            report.add(figure);
        }
        println!("{}", report.table());
        if let Some(folder) = &out {
            report.write(folder, "relay", "The relay, one link").expect("the figures can be written");
        }
        calibrated(client, out.as_deref());
    });
}

/// Processor time of the relay: of a second without a frame, and of each frame sent alone.
fn cost(client: &mut RelayClient, load: &Load, rounds: usize) -> [Figure; 2] {
    let mut spent = |work: &dyn Fn()| {
        let before = client.show().expect("the relay tells its state").cpu_ns;
        work();
        (client.show().expect("the relay tells its state").cpu_ns - before) as f64
    };
    let idle = (0..rounds).map(|_| spent(&|| thread::sleep(ROUND)) / ROUND.as_secs_f64()).collect();
    let single = |_| {
        let send = || {
            for _ in 0..ALONE {
                load.send(&[vec![0; SIZE - ETHERNET_HEADER]]);
                thread::sleep(SPACING);
            }
        };
        spent(&send) / f64::from(ALONE)
    };
    let alone = (0..rounds).map(single).collect();
    let frame = format!("processor time of a frame, one every {SPACING:?}");
    [Figure::new("relay", "processor time of an idle second", idle), Figure::new("relay", &frame, alone)]
}

/// Tells what was asked of the link and what was measured, property by property.
fn calibrated(client: &mut RelayClient, out: Option<&Path>) {
    let mut apply = |spec: &DirectionSpec| {
        client.change("l0", &DirectionChange::from(spec), &DirectionChange::default()).map_err(|e| e.to_string())
    };
    let link = CalibrationLink {
        sender: RawSocket::open_on("n0", Filter::All).expect("a socket on n0"),
        receiver: RawSocket::open_on("n1", Filter::Everything).expect("a socket on n1"),
        apply: &mut apply,
    };
    let calibration = calibrate(link, Depth::Long, Tolerance::default()).expect("the link can be measured");
    let number = |value: f64| Cell::Text(format!("{value:.4}"));
    let row = |m: &Measurement| {
        let property = Cell::Text(format!("{:?}", m.property).to_lowercase());
        let interval = Cell::Text(format!("{:.4} … {:.4}", m.interval.low, m.interval.high));
        let [p50, p99] = [m.p50, m.p99].map(|value| value.map_or_else(|| Cell::Text("–".to_owned()), number));
        let within = Cell::Text(if m.within { "yes" } else { "no" }.to_owned());
        vec![property, number(m.asked), number(m.measured), interval, p50, p99, Cell::Count(m.samples), within]
    };
    let columns = ["property", "asked", "measured", "interval", "p50", "p99", "frames", "within tolerance"];
    let measured = Measured {
        name: "calibration".to_owned(),
        title: "The relay, asked and measured".to_owned(),
        about: "Delays and jitter in ms, rates in bit/s, the rest as shares".to_owned(),
        tables: vec![Table {
            heading: String::new(),
            columns: columns.map(ToOwned::to_owned).to_vec(),
            rows: calibration.measurements.iter().map(row).collect(),
        }],
        notes: calibration.reasons.iter().map(|reason| format!("Not faithful: {reason}.")).collect(),
        run: serde_json::Value::Null,
    };
    let document = Document::new(measured, Machine::here()).expect("rows as wide as the table");
    println!("{}", document.markdown());
    if let Some(folder) = out {
        document.write(folder).expect("the figures can be written");
    }
}

fn link() -> RelayConfig {
    let spec = DirectionSpec { limit: Some(1_000_000), ..DirectionSpec::default() };
    let (name, first, second) = ("l0".to_owned(), "w0".to_owned(), "w1".to_owned());
    RelayConfig { seed: 1, links: vec![RelayLink { name, first, second, forward: spec, backward: spec }] }
}

fn set_delay(client: &mut RelayClient, delay: Duration) {
    let delay_ns = u64::try_from(delay.as_nanos()).expect("a short time");
    let change = DirectionChange { delay_ns: Some(delay_ns), ..DirectionChange::default() };
    client.change("l0", &change, &DirectionChange::default()).expect("the relay takes a delay");
}

/// The sender never rests: it has one processor for itself, the relay another. On a machine with one processor they share
/// it, which the report's head tells.
fn keep_apart() {
    let own = nix::unistd::gettid();
    for task in std::fs::read_dir("/proc/self/task").expect("the threads of this process").flatten() {
        let Ok(id) = task.file_name().to_string_lossy().parse() else { continue };
        let (id, mut processor) = (Pid::from_raw(id), CpuSet::new());
        processor.set(usize::from(id == own)).expect("a small number");
        // A thread may have ended meanwhile.
        let _ = sched_setaffinity(id, &processor);
    }
}

/// The sending and the receiving end.
struct Load {
    sender: RawSocket,
    receiver: RawSocket,
    header: [u8; ETHERNET_HEADER],
}

impl Load {
    fn new() -> Self {
        let sender = RawSocket::open_on("n0", Filter::All).expect("a socket on n0");
        let receiver = RawSocket::open_on("n1", Filter::Everything).expect("a socket on n1");
        Self { sender, receiver, header: ethernet_header(mac("n0").expect("n0 has an address")) }
    }

    fn send(&self, bodies: &[Vec<u8>]) {
        self.sender.send(bodies.iter().map(|body| Transmit { interface: 0, header: &self.header, body }));
    }

    /// ns for each frame that came out while as many went in as could.
    fn flood(&mut self) -> f64 {
        let bodies = vec![vec![0_u8; SIZE - ETHERNET_HEADER]; BATCH];
        let (before, begin) = (frames_received("n1"), Instant::now());
        while begin.elapsed() < ROUND {
            self.send(&bodies);
        }
        let (frames, span) = (frames_received("n1") - before, begin.elapsed());
        assert!(frames > 1000, "only {frames} frames came out");
        self.rest();
        span.as_secs_f64() * 1e9 / frames as f64
    }

    /// Lateness of timed frames beyond the delay, ns, while so many frames a second go through.
    fn timers(&mut self, rate: f64) -> Vec<f64> {
        let mut arena = ReceiveArena::new(BATCH);
        let together = (rate * SPACING.as_secs_f64()).max(1.0);
        let body = vec![0_u8; SIZE - ETHERNET_HEADER];
        // Told from the others by its size.
        let timed = SIZE - ETHERNET_HEADER + 1;
        let begin = monotonic_now();
        let (mut sent_at, mut late) = (Vec::new(), Vec::new());
        let count = u64::try_from(ROUND.as_nanos() / SPACING.as_nanos()).expect("a small number");
        for number in 0..count {
            let due = begin + number * u64::try_from(SPACING.as_nanos()).expect("a short time");
            // In small heaps over the millisecond, as frames of several senders come.
            let heaps = (together / 8.0).ceil();
            for heap in 0..(heaps as u64) {
                let at = due + heap * u64::try_from(SPACING.as_nanos()).expect("a short time") / heaps as u64;
                while monotonic_now() < at {
                    std::hint::spin_loop();
                }
                let mut bodies = vec![body.clone(); 8];
                if heap == 0 {
                    bodies[0] = vec![0; timed];
                    bodies[0][..8].copy_from_slice(&number.to_be_bytes());
                    sent_at.push(monotonic_now());
                }
                self.send(&bodies);
            }
            self.take(&mut arena, timed, &mut late);
        }
        let until = Instant::now() + Duration::from_millis(200);
        while late.len() < sent_at.len() && Instant::now() < until {
            self.take(&mut arena, timed, &mut late);
        }
        assert!(late.len() * 100 >= sent_at.len() * 95, "{} of {} timed frames came out", late.len(), sent_at.len());
        let delay = DELAY.as_secs_f64() * 1e9;
        let beyond =
            |(number, came): (u64, u64)| Some((came - sent_at.get(usize::try_from(number).ok()?)?) as f64 - delay);
        late.into_iter().filter_map(beyond).collect()
    }

    /// Notes which timed frames arrived, and when.
    fn take(&self, arena: &mut ReceiveArena, timed: usize, came: &mut Vec<(u64, u64)>) {
        while arena.receive(&self.receiver).is_ok_and(|count| count > 0) {
            came.extend(arena.frames().filter_map(|mut got| {
                let number = got.pdu().first_chunk().map(|number| u64::from_be_bytes(*number))?;
                (got.pdu().len() == timed).then_some((number, got.received_at))
            }));
        }
    }

    /// Waits until nothing comes out any more, and throws away what came.
    fn rest(&mut self) {
        let mut arena = ReceiveArena::new(BATCH);
        let mut before = frames_received("n1");
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            thread::sleep(Duration::from_millis(20));
            while arena.receive(&self.receiver).is_ok_and(|count| count > 0) {}
            let now = frames_received("n1");
            if now == before {
                return;
            }
            assert!(Instant::now() < deadline, "frames come for ever");
            before = now;
        }
    }
}
