/// The RFC 3339 text, UTC with milliseconds, of a wall clock's milliseconds since 1970 (`docs/protocol.md`).
pub fn rfc3339(wall_ms: u64) -> String {
    // Civil date from days (the era is 400 years from March, so that the leap day ends a year).
    let (days, ms) = (wall_ms / 86_400_000, wall_ms % 86_400_000);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (seconds, ms) = (ms / 1000, ms % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Whether a text has the shape of an RFC 3339 time.
pub fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(head), Some(tail)) = (bytes.get(..19), text.get(19..)) else {
        return false;
    };
    let shape = head
        .iter()
        .zip(b"0000-00-00T00:00:00")
        .all(|(b, want)| match want {
            b'0' => b.is_ascii_digit(),
            b'T' => b.eq_ignore_ascii_case(&b'T'),
            other => b == other,
        });
    let zone = match tail.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if zone.len() == fraction.len() {
                return false;
            }
            zone
        }
        None => tail,
    };
    let offset = |z: &[u8]| {
        z.len() == 6
            && z.iter().zip(b"+00:00").all(|(b, want)| match want {
                b'+' => matches!(b, b'+' | b'-'),
                b'0' => b.is_ascii_digit(),
                other => b == other,
            })
    };
    shape && (zone.eq_ignore_ascii_case("z") || offset(zone.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_453_734_056), "2026-11-23T17:08:54.056Z");
        assert_eq!(rfc3339(4_107_542_399_999), "2100-02-28T23:59:59.999Z");
        assert_eq!(rfc3339(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn shapes_of_a_time() {
        for good in [
            "2026-11-23T17:08:54Z",
            "2026-11-23t17:08:54.1z",
            "2026-11-23T17:08:54.056+01:00",
        ] {
            assert!(is_rfc3339(good), "{good}");
        }
        for bad in [
            "",
            "2026-11-23",
            "2026-11-23T17:08:54",
            "2026-11-23T17:08:54.Z",
            "2026-11-23 17:08:54Z",
            "2026-11-23T17:08:54+1",
            "é026-11-23T17:08:5Z",
        ] {
            assert!(!is_rfc3339(bad), "{bad}");
        }
    }
}
