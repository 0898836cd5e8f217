//! Values of flags and of the TOML file.

use serde::{Deserialize, Deserializer, de};
use std::time::Duration;
use tautline_protocol::limits;

/// A sustained rate and what may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// A second.
    pub per_s: u32,
    /// At once.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            per_s: limits::RATE_PER_S,
            burst: limits::RATE_BURST,
        }
    }
}

/// Reads `20/s,burst=100`.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("\"{text}\" is not like 20/s,burst=100");
    let (per_s, burst) = text.split_once(',').ok_or_else(wrong)?;
    let per_s = per_s
        .trim()
        .strip_suffix("/s")
        .and_then(|n| n.parse().ok())
        .filter(|&n| n > 0)
        .ok_or_else(wrong)?;
    let burst = burst
        .trim()
        .strip_prefix("burst=")
        .and_then(|n| n.parse().ok())
        .filter(|&n| n > 0)
        .ok_or_else(wrong)?;
    Ok(Rate { per_s, burst })
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        rate(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Reads `500ms`, `15s`, `10m`, `12h`, `30d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a time like 500ms, 15s, 10m, 12h or 30d");
    let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(ms)
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

/// Reads `IP` or `IP:PORT`: where peers reach the relay.
pub(crate) fn reached_at(text: &str) -> Result<ReachedAt, String> {
    if let Ok(ip) = text.trim_matches(['[', ']']).parse() {
        return Ok(ReachedAt { ip, port: None });
    }
    let at: std::net::SocketAddr = text.parse().map_err(|_| {
        format!("\"{text}\" is not an IP address, or one with a port like 203.0.113.7:3478")
    })?;
    Ok(ReachedAt {
        ip: at.ip(),
        port: Some(at.port()),
    })
}

/// An address as peers know it; without a port it is the socket's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReachedAt {
    /// The address.
    pub ip: std::net::IpAddr,
    /// The port, where a proxy or a NAT changes it.
    pub port: Option<u16>,
}

impl<'de> Deserialize<'de> for ReachedAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        reached_at(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

pub(crate) fn duration_field<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(&String::deserialize(deserializer)?)
        .map(Some)
        .map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_rates() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("12h"), Ok(Duration::from_secs(43_200)));
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "5 s",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(
            rate("20/s,burst=100"),
            Ok(Rate {
                per_s: 20,
                burst: 100
            })
        );
        for bad in [
            "",
            "20",
            "20/s",
            "0/s,burst=1",
            "20/s,burst=",
            "20/m,burst=3",
        ] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
