//! How fast this host reacts: what the timers of a run are derived from.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use damc_topology::timers::Calibration;

/// Measures this host, some hundredths of a second long. What counts is what the host can do: the best of some
/// batches, so that a moment's load does not slow a whole run down.
///
/// # Errors
/// When the host does not give a thread and a pair of sockets.
pub fn measure() -> io::Result<Calibration> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Calibration::of_host(best_round_trip()?, cpus))
}

/// The best mean of a batch of round trips.
fn best_round_trip() -> io::Result<Duration> {
    const BATCHES: usize = 16;
    const TRIPS: u32 = 40;
    let (mut near, mut far) = UnixStream::pair()?;
    let echo = std::thread::Builder::new().name("echo".to_owned()).spawn(move || {
        let mut byte = [0];
        while far.read_exact(&mut byte).and_then(|()| far.write_all(&byte)).is_ok() {}
    })?;
    let mut best = Duration::MAX;
    for _ in 0..BATCHES {
        let since = Instant::now();
        for _ in 0..TRIPS {
            let mut byte = [1];
            near.write_all(&byte)?;
            near.read_exact(&mut byte)?;
        }
        best = best.min(since.elapsed() / TRIPS);
    }
    drop(near);
    // It ends with the connection; a panic there would have broken that already.
    let _ = echo.join();
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_can_be_measured() {
        let found = measure().unwrap();
        assert!(found.round_trip_us.is_some_and(|us| us > 0.0) && found.cpus > 0, "{found:?}");
        assert!((1.0..=20.0).contains(&found.stretch), "{found:?}");
    }
}
