//! The prober on paths in virtual time.

use damc_wire::Frame;

use super::*;

const MS: u64 = 1_000_000;

fn name(s: &str) -> Name {
    s.parse().unwrap()
}

fn targets(names: &[&str]) -> BTreeSet<Name> {
    names.iter().map(|n| name(n)).collect()
}

/// A prober in virtual time, with the messages it sent and the reflections in transit.
struct Bench {
    prober: Prober,
    now: Timestamp,
    out: Outbox,
    sent: Vec<(Timestamp, Transmit)>,
    flying: Vec<(Timestamp, Probe)>,
}

impl Bench {
    fn new(timers: &Timers) -> Self {
        let prober = Prober::new(timers, &name("/damc/example/sg-1"), 1);
        Self { prober, now: Timestamp::ZERO, out: Outbox::default(), sent: Vec::new(), flying: Vec::new() }
    }

    /// Runs until `end_ms`; `path` returns a probe's delays in both directions, or `None` if it is lost.
    fn run(&mut self, end_ms: u64, mut path: impl FnMut(&Transmit, &Probe) -> Option<(u64, u64)>) {
        let end = Timestamp::from_millis(end_ms);
        loop {
            let reply = self.flying.iter().map(|(at, _)| *at).min();
            let next = self.prober.next_timeout().into_iter().chain(reply).min().unwrap_or(end);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            let arrived: Vec<Probe> = self.flying.extract_if(.., |(at, _)| *at <= self.now).map(|(_, p)| p).collect();
            for probe in arrived {
                assert!(self.prober.on_reply(self.now, &probe, &mut self.out));
            }
            let mut send = Vec::new();
            self.prober.handle_timeout(self.now, &mut send, &mut self.out);
            for t in send {
                if let Message::Probe(p) = &t.message
                    && let Some((there, back)) = path(&t, p)
                {
                    let t2 = 5_000 * MS + self.now.nanos() + there;
                    let reply = Probe { t2, t3: t2 + MS, padding: 0, ..p.clone() };
                    self.flying.push((Timestamp(self.now.nanos() + there + MS + back), reply));
                }
                self.sent.push((self.now, t));
            }
        }
        self.now = end;
    }

    fn answer_tasks(&mut self, healthy: bool, self_test_ns: u64) {
        for (_, t) in &self.sent {
            if let Message::Task(task) = &t.message {
                let report = TaskReport { task: task.task, healthy, load_ppm: 1, served: 0, self_test_ns };
                self.prober.on_report(&report, &mut self.out);
            }
        }
    }

    /// Makes these names targets, all at one origin.
    fn target(&mut self, names: &[&str]) {
        let origin = NodeId::new("sg-2").unwrap();
        names.iter().for_each(|n| self.prober.set_target(self.now, &name(n), Some(&origin)));
    }

    fn report(&self, target: &str, label: u32) -> PathReport {
        let all = self.prober.measurements();
        all.into_iter().find(|m| m.report.target == name(target) && m.report.label == label).unwrap().report
    }
}

fn quiet() -> Timers {
    Timers { task_interval_ms: 3_600_000, ..Timers::default() }
}

#[test]
fn qos_01_each_target_is_probed_at_the_period_and_probes_never_bunch() {
    let mut b = Bench::new(&Timers { train_every: 0, ..quiet() });
    b.target(&["/A/1", "/A/4", "/B/1", "/B/4", "/C/2", "/D/3"]);
    b.run(4000, |_, _| Some((MS, MS)));
    let of_b4: Vec<u64> =
        b.sent.iter().filter(|(_, t)| t.destination == name("/B/4")).map(|(at, _)| at.millis()).collect();
    assert!((19..=21).contains(&of_b4.len()), "{}", of_b4.len());
    assert!(of_b4.windows(2).all(|w| (180..=220).contains(&(w[1] - w[0]))), "{of_b4:?}");
    b.sent.retain(|(_, t)| matches!(t.message, Message::Probe(_)));
    let gaps: Vec<u64> = b.sent.windows(2).map(|w| w[1].0.millis() - w[0].0.millis()).collect();
    assert!(gaps.iter().all(|g| *g >= 10), "two probes at one time: {gaps:?}");
}

#[test]
fn qos_01_new_targets_and_probe_now_need_no_waiting() {
    let mut b = Bench::new(&Timers { train_every: 0, ..quiet() });
    b.target(&["/A/1"]);
    b.run(1000, |_, _| Some((MS, MS)));
    b.target(&["/A/1", "/D/3"]);
    b.run(1250, |_, _| Some((MS, MS)));
    assert!(b.sent.iter().any(|(_, t)| t.destination == name("/D/3")));
    let before = b.sent.len();
    b.prober.probe_now(b.now);
    // The next two slots of the origin: no period is waited for, and two probes never go at one time.
    b.run(b.now.millis() + 2 * 1000 / 64 + 1, |_, _| Some((MS, MS)));
    let hit: BTreeSet<Name> = b.sent[before..].iter().map(|(_, t)| t.destination.clone()).collect();
    assert_eq!((hit, before > 5), (targets(&["/A/1", "/D/3"]), true));
}

#[test]
fn qos_05_delay_and_bandwidth_of_a_path_are_measured() {
    let mut b = Bench::new(&quiet());
    b.target(&["/B/4"]);
    let gap = 1214 * 8 * 1000 / 50;
    b.run(6000, |_, p| Some((20 * MS + u64::from(p.train_index) * gap, 20 * MS)));
    let r = b.report("/B/4", 0);
    assert_eq!((r.delay_ns, r.jitter_ns, r.loss_ppm, r.available), (Some(20 * MS), Some(0), 0, true));
    assert!(r.bandwidth_bps.unwrap().abs_diff(50_000_000) < 500_000, "{:?}", r.bandwidth_bps);
    let trains = b.sent.iter().filter(|(_, t)| matches!(&t.message, Message::Probe(p) if p.train_length > 1));
    assert_eq!(trains.count() % 32, 0);
}

#[test]
fn trains_have_the_asked_size_and_come_one_at_a_time() {
    let mut b = Bench::new(&quiet());
    b.target(&["/A/1", "/B/4", "/C/2"]);
    b.run(5000, |_, p| Some((150 * MS + u64::from(p.train_index) * MS, MS)));
    let source = name("/damc/example/sg-1");
    let mut under_way: Option<(u64, u32, Timestamp)> = None;
    for (at, t) in &b.sent {
        let Message::Probe(p) = &t.message else { continue };
        if p.train_length == 1 {
            continue;
        }
        let pdu = Frame::plain(t.destination.clone(), source.clone(), t.flow, t.message.clone()).encode().unwrap();
        assert_eq!(pdu.len(), 1200);
        if let Some((test, sequence, since)) = under_way.replace((p.test, p.sequence, *at))
            && (test, sequence) != (p.test, p.sequence)
        {
            assert!(at.since(since).as_millis() >= 180, "a second train while one is under way");
        }
    }
    assert!(under_way.is_some());
}

#[test]
fn qos_03_silence_is_noticed_within_three_periods_and_so_is_the_return() {
    let mut b = Bench::new(&quiet());
    b.target(&["/B/4"]);
    b.run(2000, |_, _| Some((MS, MS)));
    assert!(b.report("/B/4", 0).available);
    b.run(2000 + 3 * 200 + 210, |_, _| None);
    let r = b.report("/B/4", 0);
    assert_eq!((r.available, r.delay_ns), (false, None), "what was measured before the outage is void");
    b.run(3300, |_, _| Some((MS, MS)));
    let r = b.report("/B/4", 0);
    assert_eq!((r.available, r.delay_ns), (true, Some(MS)));
}

#[test]
fn qos_02_a_target_that_ignores_or_fails_its_tasks_is_unavailable() {
    let mut b = Bench::new(&Timers { train_every: 0, ..Timers::default() });
    b.target(&["/B/4"]);
    b.run(1100, |_, _| Some((MS, MS)));
    b.answer_tasks(true, 1);
    assert!(b.report("/B/4", 0).available);
    b.run(5100, |_, _| Some((MS, MS)));
    assert!(!b.report("/B/4", 0).available, "it reflects probes, but three tasks went unanswered");
    b.answer_tasks(true, 1);
    assert!(b.report("/B/4", 0).available);
    b.run(6000, |_, _| Some((MS, MS)));
    b.answer_tasks(false, 1);
    assert!(!b.report("/B/4", 0).available, "ill by its own judgement");
}

#[test]
fn con_04_neither_a_rosy_self_report_nor_a_claimed_holding_time_hides_the_path() {
    let mut b = Bench::new(&Timers { train_every: 0, ..Timers::default() });
    b.target(&["/B/4"]);
    b.run(3000, |_, _| Some((50 * MS, 50 * MS)));
    b.answer_tasks(true, 100_000);
    assert_eq!(b.report("/B/4", 0).delay_ns, Some(50 * MS), "the self-test took 0.1 ms, it says");
    let mut path = PathProbe::new(1, 1, Timestamp::ZERO, Timestamp::ZERO);
    let probe = path.single(Timestamp::ZERO);
    let lie = Probe { t1: 99 * MS, t2: 0, t3: 98 * MS, ..probe };
    path.reflected(Timestamp::from_millis(100), &lie, &Timers::default());
    assert_eq!(path.metrics(false, true).delay_ns, Some(40 * MS), "at most 20 ms of holding are believed");
}

#[test]
fn label_paths_are_probed_beside_the_plain_path() {
    let mut b = Bench::new(&Timers { train_every: 0, ..quiet() });
    b.target(&["/A/1"]);
    b.prober.set_labels(b.now, &[(7, name("/A/1"))].into());
    b.run(2000, |t, _| Some(if t.label == 7 { (3 * MS, 3 * MS) } else { (40 * MS, 40 * MS) }));
    assert_eq!(b.report("/A/1", 0).delay_ns, Some(40 * MS));
    assert_eq!(b.report("/A/1", 7).delay_ns, Some(3 * MS));
    b.prober.set_labels(b.now, &BTreeMap::new());
    assert_eq!(b.prober.measurements().len(), 1);
}

#[test]
fn negative_replies_count_as_misses_at_once() {
    let mut b = Bench::new(&Timers { train_every: 0, ..quiet() });
    b.target(&["/A/1"]);
    b.run(650, |_, _| None);
    let probes = |(_, t): &(Timestamp, Transmit)| match &t.message {
        Message::Probe(p) => Some(p.clone()),
        _ => None,
    };
    let p = b.sent.iter().find_map(probes).unwrap();
    let nack = Nack {
        reason: damc_wire::RefusalReason::NoRoute,
        node: NodeId::new("sr-left").unwrap(),
        answered: MessageType::Probe,
        destination: name("/A/1"),
        body: p.test.to_be_bytes().to_vec(),
    };
    for _ in 0..3 {
        assert!(b.prober.on_nack(b.now, &nack, &mut b.out));
    }
    assert!(!b.report("/A/1", 0).available);
    assert!(!b.prober.on_nack(b.now, &Nack { answered: MessageType::Data, ..nack }, &mut b.out));
}

/// Names of one origin.
fn many(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("/A/{i}")).collect()
}

/// What is looked at for each probe, task and answer, and probes and tasks in a second, with so many names.
fn cost_of(count: usize) -> (f64, f64) {
    let mut b = Bench::new(&Timers { train_every: 0, ..Timers::default() });
    let names = many(count);
    b.target(&names.iter().map(String::as_str).collect::<Vec<_>>());
    b.run(2000, |_, _| Some((MS, MS)));
    let (sent, looked_at) = (b.sent.len(), b.prober.looked_at);
    b.run(12_000, |_, _| Some((MS, MS)));
    let sent = (b.sent.len() - sent) as f64;
    ((b.prober.looked_at - looked_at) as f64 / sent, sent / 10.0)
}

/// Operations, not time: with some names, ten times as many, and all that a pod may have.
#[test]
fn what_a_probe_or_an_answer_costs_is_the_same_for_any_number_of_names() {
    let [some, ten_times, bound] = [12, 120, 1024].map(|count| cost_of(count).0);
    for more in [ten_times, bound] {
        assert!((more / some - 1.0).abs() < 0.2, "{some} {ten_times} {bound}");
    }
}

#[test]
fn names_without_end_are_probed_within_a_budget() {
    // Twelve names fit it: 5 probes and 2 tasks each. Of more, each has its share.
    assert!((cost_of(12).1 - 84.0).abs() < 3.0, "{}", cost_of(12).1);
    for count in [120, 1024] {
        let rate = cost_of(count).1;
        let budget = f64::from(PROBES_PER_ORIGIN) * 1.4;
        assert!(rate < budget * 1.05 && rate > budget * 0.8, "{count} names: {rate} a second");
    }
    let mut b = Bench::new(&Timers { train_every: 0, ..quiet() });
    let names = many(256);
    b.target(&names.iter().map(String::as_str).collect::<Vec<_>>());
    b.prober.set_target(b.now, &name("/B/4"), Some(&NodeId::new("sg-4").unwrap()));
    b.run(10_000, |_, _| Some((MS, MS)));
    let of = |target: &str| b.sent.iter().filter(|(_, t)| t.destination == name(target)).count();
    assert!((2..=3).contains(&of("/A/7")), "a 256th of 64 a second: {}", of("/A/7"));
    assert!((17..=20).contains(&of("/B/4")), "another origin has its own: {}", of("/B/4"));
}

#[test]
fn labels_share_the_budget_of_the_names_they_lead_to() {
    let mut b = Bench::new(&Timers { train_every: 0, ..quiet() });
    let names = many(256);
    b.target(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let labels = (1..).zip(names.iter().map(|text| name(text))).collect();
    b.prober.set_labels(b.now, &labels);
    b.run(10_000, |_, _| Some((MS, MS)));
    let by_label = |label: bool| {
        let probes = b.sent.iter().filter(|(_, t)| matches!(t.message, Message::Probe(_)));
        probes.filter(|(_, t)| (t.label != 0) == label).count()
    };
    let (plain, labelled) = (by_label(false), by_label(true));
    assert!(plain + labelled <= 645, "{plain} plain and {labelled} by labels in ten seconds");
    assert!(plain > 250 && labelled > 250, "{plain} plain and {labelled} by labels");
}

#[test]
fn labels_of_pools_have_a_budget_of_their_own() {
    let mut b = Bench::new(&Timers { train_every: 0, ..quiet() });
    let labels = (1..=256).map(|label| (label, name(&format!("/P/{label}")))).collect();
    b.prober.set_labels(b.now, &labels);
    b.run(10_000, |_, _| Some((MS, MS)));
    let probes = b.sent.iter().filter(|(_, t)| matches!(t.message, Message::Probe(_))).count();
    assert!((600..=645).contains(&probes), "{probes} in ten seconds");
}

#[test]
fn a_name_that_moves_or_goes_takes_its_share_along() {
    let mut b = Bench::new(&Timers { train_every: 0, ..quiet() });
    let names = many(256);
    b.target(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for gone in &names[1..] {
        b.prober.set_target(b.now, &name(gone), None);
    }
    b.prober.set_target(b.now, &name(&names[0]), Some(&NodeId::new("sg-3").unwrap()));
    b.run(4000, |_, _| Some((MS, MS)));
    let probes = b.sent.iter().filter(|(_, t)| matches!(t.message, Message::Probe(_))).count();
    assert!((19..=21).contains(&probes), "one name at the configured period: {probes}");
    assert_eq!((b.prober.measurements().len(), b.prober.origins.len()), (1, 1));
    assert_eq!((b.prober.by_test.len(), b.prober.expiries.keys().count() <= 1), (1, true));
}

#[test]
fn only_paths_with_news_are_reported() {
    let mut b = Bench::new(&Timers { train_every: 0, ..quiet() });
    let names = many(640);
    b.target(&names.iter().map(String::as_str).collect::<Vec<_>>());
    b.run(20_000, |_, _| Some((MS, MS)));
    let news = b.prober.news(b.now).len();
    assert!((20..=30).contains(&news), "{news}: what 400 ms bring at 64 a second");
    assert_eq!(b.prober.measurements().len(), 640);
}
