//! What a day is made of: when customers come, who they are, and how long what they leave is kept.

/// A customer's way in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Visit {
    /// A page with a socket of its own, until the order is ready or its owner has gone.
    Guest,
    /// A request, and another to see what became of it.
    Request,
    /// A kiosk that is spoken to.
    Voice,
}

impl Visit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Guest => "guests",
            Self::Request => "requests",
            Self::Voice => "voice sessions",
        }
    }
}

/// Of a hundred who come in the busiest hour, from six in the morning on: breakfast, lunch, dinner, an idle night.
const CURVE: [f64; 24] = [
    5.0, 15.0, 25.0, 15.0, 10.0, 40.0, 100.0, 80.0, 30.0, 15.0, 10.0, 20.0, 70.0, 100.0, 90.0,
    60.0, 30.0, 15.0, 5.0, 2.0, 1.0, 1.0, 1.0, 2.0,
];
/// From here on it is a rush: kiosks are spoken to.
const RUSH: f64 = 60.0;

/// Minutes of a short day.
const USUAL: f64 = 96.0;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How long the day is, by the relay's clock.
    pub(crate) minutes: f64,
    /// Seconds that pass in one.
    pub(crate) pace: u32,
    /// In the busiest hour, all restaurants.
    busiest: f64,
    keep_final: f64,
    pub(crate) history: f64,
}

fn number(name: &str, usual: u32) -> u32 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

impl Plan {
    /// What the environment asks for; else a short one.
    pub(crate) fn asked() -> Self {
        let minutes = f64::from(number("TAUTLINE_DAY_MINUTES", USUAL as u32));
        Self {
            minutes,
            pace: number("TAUTLINE_DAY_PACE", 360),
            busiest: f64::from(number("TAUTLINE_DAY_BUSIEST", 12)),
            keep_final: minutes / 12.0,
            history: minutes / 6.0,
        }
    }

    /// In a day that is shorter still people are in a hurry.
    pub(crate) fn of_people(&self, minutes: f64) -> f64 {
        minutes * (self.minutes / USUAL).min(1.0)
    }

    /// Events kept of each restaurant: what an eighth of a day brings.
    pub(crate) fn tail(&self) -> u64 {
        let hours = self.minutes / f64::from(crate::HOURS);
        let visits = hours * self.busiest * CURVE.iter().sum::<f64>() / 100.0;
        (visits * 5.0 / crate::RESTAURANTS.len() as f64 / 8.0) as u64 + 16
    }

    pub(crate) fn visits_a_minute(&self, hour: u32) -> f64 {
        self.busiest * CURVE[hour as usize] / 100.0
    }

    pub(crate) fn visit(&self, hour: u32, chance: u64) -> Visit {
        let is_rush = CURVE[hour as usize] >= RUSH;
        match chance {
            0..45 => Visit::Guest,
            45..70 => Visit::Request,
            _ if is_rush => Visit::Voice,
            _ => Visit::Guest,
        }
    }

    /// Customers come through a proxy, so that each has an address.
    pub(crate) fn flags(&self) -> Vec<String> {
        let seconds = |minutes: f64| format!("{}s", (minutes * 60.0) as u64);
        let mut flags = vec![
            "--keep-final".into(),
            seconds(self.keep_final),
            "--history".into(),
            seconds(self.history),
            "--log-tail".into(),
            self.tail().to_string(),
            "--heartbeat".into(),
            seconds(self.of_people(1.0).max(0.05)),
            "--trusted-proxy".into(),
            "127.0.0.1".into(),
            "--log-level".into(),
            "warn".into(),
        ];
        if self.pace > 1 {
            flags.extend(["--pace".into(), self.pace.to_string()]);
        }
        flags
    }
}
