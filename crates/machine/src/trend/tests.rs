use super::*;
use crate::Rng;

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600_000;

/// Samples every ten seconds for so long.
fn over(ms: u64, mut value: impl FnMut(f64) -> f64) -> Trend {
    let mut floor = Floor::new(30 * SECOND);
    let mut at = 0;
    while at <= ms {
        floor.sample(value(at as f64), Time::from_ms(at));
        at += 10 * SECOND;
    }
    floor.trend()
}

/// Memory that is handed out and collected: rises by half, falls back, every `period` ms; with some noise.
fn saw_tooth(rng: &mut Rng, period: f64, phase: f64, at: f64) -> f64 {
    let noise = rng.between(0, 1_000) as f64 / 1_000.0;
    100.0 + 50.0 * ((at + phase) % period) / period + noise
}

#[test]
fn a_saw_tooth_is_no_leak_wherever_it_is_cut() {
    for seed in 1..=200 {
        let mut rng = Rng::new(seed);
        let hours = rng.between(1, 12) * HOUR;
        // A tooth as long as what is looked at is a rise, as far as anybody can see.
        let period = rng.between(20 * SECOND, hours / FLOORS as u64) as f64;
        let phase = rng.between(0, period as u64) as f64;
        let trend = over(hours, |at| saw_tooth(&mut rng, period, phase, at));
        assert_eq!(trend.direction, Direction::Stable, "seed {seed}: {trend:?}");
    }
}

#[test]
fn a_leak_under_a_saw_tooth_is_found_and_measured() {
    for seed in 1..=200 {
        let mut rng = Rng::new(seed);
        let period = rng.between(20 * SECOND, 5 * 60 * SECOND) as f64;
        let per_hour = rng.between(10, 100) as f64;
        let trend = over(2 * HOUR, |at| {
            saw_tooth(&mut rng, period, 0.0, at) + at * per_hour / HOUR as f64
        });
        assert_eq!(
            trend.direction,
            Direction::Growing,
            "seed {seed}: {trend:?}"
        );
        let error = (trend.per_hour - per_hour).abs() / per_hour;
        assert!(error < 0.2, "seed {seed}: {per_hour} an hour, {trend:?}");
    }
}

#[test]
fn what_sinks_is_told_as_well() {
    let trend = over(HOUR, |at| 200.0 - at * 50.0 / HOUR as f64);
    assert_eq!(trend.direction, Direction::Shrinking);
    assert!((trend.per_hour + 50.0).abs() < 0.1, "{trend:?}");
}

#[test]
fn a_start_that_fills_caches_is_forgotten_in_time() {
    let trend = over(8 * HOUR, |at| (50.0 + at / 6_000.0).min(150.0));
    assert_eq!(trend.direction, Direction::Stable, "{trend:?}");
}

#[test]
fn a_fifth_of_wild_values_changes_nothing() {
    let mut rng = Rng::new(7);
    let trend = over(4 * HOUR, |_| match rng.between(0, 4) {
        0 => rng.between(1_000, 9_000) as f64,
        _ => 100.0,
    });
    assert_eq!(trend.direction, Direction::Stable, "{trend:?}");
}

#[test]
fn noise_is_rarely_taken_for_a_trend() {
    let mut wrong = 0;
    for seed in 1..=1_000 {
        let mut rng = Rng::new(seed);
        let trend = over(HOUR, |_| rng.between(0, 1_000) as f64);
        wrong += usize::from(trend.direction != Direction::Stable);
    }
    assert!(wrong <= 20, "{wrong} of 1000; the test is made for 10");
}

#[test]
fn a_leak_too_small_to_matter_is_not_told() {
    let trend = over(HOUR, |at| 1_000.0 + at * 10.0 / HOUR as f64);
    assert_eq!(trend.direction, Direction::Stable, "1 % in an hour");
    assert!(trend.z > SURE, "but the figures show it: {trend:?}");
}

#[test]
fn little_is_said_of_little() {
    let mut floor = Floor::new(SECOND);
    assert_eq!(floor.trend().direction, Direction::Unknown);
    for n in 0..=7 {
        floor.sample(n as f64, Time::from_ms(n * SECOND));
        assert_eq!(floor.trend().direction, Direction::Unknown, "{n} floors");
    }
    floor.sample(f64::NAN, Time::from_ms(8 * SECOND));
    floor.sample(9.0, Time::from_ms(1));
    assert_eq!(
        floor.trend().samples,
        8,
        "no number, and a clock that went back"
    );
    floor.sample(8.0, Time::from_ms(8 * SECOND));
    assert_eq!(floor.trend().direction, Direction::Growing);
}

#[test]
fn what_is_known_once_stays_known() {
    let mut floor = Floor::new(SECOND);
    for n in 0..1_000 {
        floor.sample(n as f64, Time::from_ms(n * SECOND));
        let expected = match n {
            0..=7 => Direction::Unknown,
            _ => Direction::Growing,
        };
        assert_eq!(floor.trend().direction, expected, "after {n} stretches");
    }
}

#[test]
fn a_year_takes_no_more_memory_than_a_day() {
    let mut floor = Floor::new(30 * SECOND);
    for n in 0..365 * 24 {
        floor.sample(1.0, Time::from_ms(n * HOUR));
        assert!(floor.kept.len() <= STRETCHES);
    }
    let trend = floor.trend();
    assert_eq!(trend.direction, Direction::Stable);
    assert!(trend.span_ms > 300 * 24 * HOUR, "{trend:?}");
}
