/// A seeded generator (SplitMix64): jitter and ids must be replayable from one number, so a machine never asks the
/// system for chance.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of that seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// What [`Rng::new`] goes on from.
    pub fn state(&self) -> u64 {
        self.0
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = high.saturating_sub(low);
        if span == 0 {
            low
        } else {
            low + self.next_u64() % (span + 1)
        }
    }

    /// 13 letters of base 32: enough chance for an instance's name.
    pub fn name(&mut self) -> String {
        let mut bits = self.next_u64();
        (0..13)
            .map(|_| {
                let letter = b"abcdefghijklmnopqrstuvwxyz234567"[(bits & 31) as usize];
                bits >>= 5;
                char::from(letter)
            })
            .collect()
    }
}
