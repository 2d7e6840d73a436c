//! How long a call takes.

use std::time::{Duration, Instant};

const WARM_UPS: usize = 5;
const MIN_CALLS: usize = 30;
const MIN_TIME: Duration = Duration::from_millis(500);

/// The time of a call in microseconds.
pub struct Timing {
    pub median: f64,
    pub min: f64,
}

/// Calls it again and again, for at least [`MIN_CALLS`] and [`MIN_TIME`] after the warm-up.
pub fn time<E>(mut call: impl FnMut() -> Result<(), E>) -> Result<Timing, E> {
    (0..WARM_UPS).try_for_each(|_| call())?;
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < MIN_CALLS || begin.elapsed() < MIN_TIME {
        let start = Instant::now();
        call()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let middle = times.len() / 2;
    // Of an even number, the mean of the two in the middle.
    let median = (times[middle] + times[(times.len() - 1) / 2]) / 2;
    Ok(Timing { median: median.as_secs_f64() * 1e6, min: times[0].as_secs_f64() * 1e6 })
}
