//! Time, processor time and latencies, and how they are printed.
//!
//! A shared machine makes wall time lie; processor time of the server lies less. So both stand
//! beside each other, with how much of the machine others took meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::server::{Server, processor};

/// A measurement under way.
pub struct Span {
    began: Instant,
    server: Duration,
    threads: BTreeMap<String, Duration>,
    client: Duration,
    machine: Duration,
}

/// What was used between a begin and an end.
pub struct Used {
    pub wall: Duration,
    /// Processor time of the server.
    pub server: Duration,
    /// The same by threads that still live.
    pub threads: BTreeMap<String, Duration>,
    /// Processor time of this process.
    pub client: Duration,
    /// Processor time of everybody else on the machine.
    pub others: Duration,
}

impl Span {
    pub fn begin(server: &Server) -> Self {
        Self {
            began: Instant::now(),
            server: server.processor(),
            threads: server.threads(),
            client: client(),
            machine: machine(),
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn end(self, server: &Server) -> Used {
        let wall = self.began.elapsed();
        let mut threads = server.threads();
        for (name, time) in &mut threads {
            *time = time.saturating_sub(self.threads.get(name).copied().unwrap_or_default());
        }
        let (spent, client) = (server.processor() - self.server, client() - self.client);
        let others = (machine() - self.machine).saturating_sub(spent + client);
        Used { wall, server: spent, threads, client, others }
    }
}

impl Used {
    pub fn rate(&self, count: usize) -> String {
        grouped(count as f64 / self.wall.as_secs_f64())
    }

    /// Processor time in microseconds a piece, of the server and of the client, and how many of
    /// the machine's processors others used.
    pub fn cost(&self, count: usize) -> String {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
        format!(
            "server {:>6.1} us, client {:>6.1} us; others took {:.1} cores",
            each(self.server),
            each(self.client),
            self.others.as_secs_f64() / self.wall.as_secs_f64(),
        )
    }

    /// Where the server's processor time went, largest first.
    pub fn by_thread(&self, count: usize) -> String {
        let mut threads: Vec<_> = self.threads.iter().filter(|(_, time)| !time.is_zero()).collect();
        threads.sort_by_key(|(_, time)| std::cmp::Reverse(**time));
        let each = |time: &Duration| time.as_secs_f64() * 1e6 / count as f64;
        let told = threads.iter().map(|(name, time)| format!("{name} {:.1} us", each(time)));
        told.collect::<Vec<_>>().join(", ")
    }
}

fn client() -> Duration {
    processor("/proc/self/stat").expect("/proc").1
}

/// Processor time of everybody: user, nice, system, irq, softirq (proc(5)).
fn machine() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").expect("/proc");
    let line = stat.lines().next().expect("a line for all processors");
    let fields: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    Duration::from_millis([0, 1, 2, 5, 6].iter().map(|place| fields[*place]).sum::<u64>() * 10)
}

/// Time of this thread on a processor, in microseconds.
pub fn thread_us() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).expect("a number") / 1_000.0
}

/// How long many of the same took.
#[derive(Debug, Default, Clone)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    pub fn add(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// p50 and p99 in milliseconds, by nearest rank.
    pub fn summary(&mut self) -> String {
        assert!(!self.0.is_empty(), "nothing was measured");
        self.0.sort_unstable();
        format!("p50 {} p99 {}", millis(self.percentile(50)), millis(self.percentile(99)))
    }

    pub fn median(&mut self) -> Duration {
        self.0.sort_unstable();
        self.percentile(50)
    }

    fn percentile(&self, percent: usize) -> Duration {
        self.0[(self.0.len() * percent).div_ceil(100) - 1]
    }
}

pub fn millis(time: Duration) -> String {
    format!("{:>7.2} ms", time.as_secs_f64() * 1e3)
}

/// A whole number with spaces between thousands.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// A line of a table: what was measured, the figure, what it cost.
pub fn row(what: &str, figure: impl std::fmt::Display, rest: impl std::fmt::Display) {
    println!("  {what:<46} {figure:>24}   {rest}");
}
