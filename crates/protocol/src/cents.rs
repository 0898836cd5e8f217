/// An amount of money in integer cents, read from decimal text and never through a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cents(u64);

impl Cents {
    /// Ten million in the currency's unit: what keeps every sum of an order far from overflow.
    pub const MAX: Self = Self(1_000_000_000);

    /// That many cents, if not over [`Cents::MAX`].
    pub fn new(cents: u64) -> Option<Self> {
        (cents <= Self::MAX.0).then_some(Self(cents))
    }

    /// The number of cents.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Reads `12`, `12.5` or `12.50`; no sign, no exponent, at most two decimals.
    pub fn from_decimal(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 2 || whole.len() > 9 {
            return None;
        }
        let tail: u64 = decimals.parse().ok()?;
        let tail = if decimals.len() == 1 { tail * 10 } else { tail };
        Self::new(whole.parse::<u64>().ok()? * 100 + tail)
    }

    /// The decimal text, two digits after the point.
    pub fn to_decimal(self) -> String {
        let mut out = String::new();
        crate::json::push_u64(&mut out, self.0 / 100);
        out.push('.');
        if self.0 % 100 < 10 {
            out.push('0');
        }
        crate::json::push_u64(&mut out, self.0 % 100);
        out
    }

    /// The sum, unless it is over [`Cents::MAX`].
    pub fn plus(self, other: Self) -> Option<Self> {
        Self::new(self.0 + other.0)
    }

    /// The product, unless it is over [`Cents::MAX`].
    pub fn times(self, quantity: u32) -> Option<Self> {
        Self::new(self.0.checked_mul(u64::from(quantity))?)
    }
}

#[cfg(feature = "json")]
impl serde::Serialize for Cents {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = serde_json::value::RawValue::from_string(self.to_decimal())
            .map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

#[cfg(feature = "json")]
impl<'de> serde::Deserialize<'de> for Cents {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The raw text: a float would have rounded it already.
        let raw = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
        Self::from_decimal(raw.get()).ok_or_else(|| {
            serde::de::Error::custom(
                "an amount must be a plain decimal number, not negative, with at most two decimals",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_is_not_money() {
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e2",
            "0.123",
            "1 ",
            "10000000.01",
            "99999999999999999999",
            "NaN",
            "1,5",
        ] {
            assert_eq!(Cents::from_decimal(text), None, "{text}");
        }
        assert_eq!(Cents::from_decimal("10000000"), Some(Cents::MAX));
        assert_eq!(Cents::from_decimal("0.1"), Cents::new(10));
    }

    proptest! {
        #[test]
        fn text_round_trips(cents in 0..=Cents::MAX.0) {
            let cents = Cents::new(cents).unwrap();
            prop_assert_eq!(Cents::from_decimal(&cents.to_decimal()), Some(cents));
        }
    }
}
