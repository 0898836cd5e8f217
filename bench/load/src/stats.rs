/// Times in steps of 20 µs, up to 5 s.
pub(crate) struct Times {
    bins: Vec<u64>,
    count: u64,
    most: u64,
}

const STEP_US: u64 = 20;
const BINS: usize = 250_000;

impl Times {
    pub(crate) fn new() -> Self {
        Self {
            bins: vec![0; BINS],
            count: 0,
            most: 0,
        }
    }

    pub(crate) fn record(&mut self, us: u64) {
        let bin = usize::try_from(us / STEP_US).unwrap_or(BINS).min(BINS - 1);
        if let Some(bin) = self.bins.get_mut(bin) {
            *bin += 1;
        }
        self.count += 1;
        self.most = self.most.max(us);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Milliseconds that this share of them stayed below.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bin, count) in self.bins.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return (bin as u64 * STEP_US + STEP_US / 2) as f64 / 1000.0;
            }
        }
        self.most as f64 / 1000.0
    }

    pub(crate) fn most_ms(&self) -> f64 {
        self.most as f64 / 1000.0
    }
}
