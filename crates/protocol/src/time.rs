//! Times as people and the wire read them; the calendar is `jiff`'s.

use jiff::Timestamp;

/// The RFC 3339 text, UTC with milliseconds, of a wall clock's milliseconds since 1970 (`docs/protocol.md`).
pub fn rfc3339(wall_ms: u64) -> String {
    let ms = i64::try_from(wall_ms).unwrap_or(i64::MAX);
    let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    format!("{at:.3}")
}

/// The milliseconds since 1970 of an RFC 3339 time in any zone; `None` for what is none.
pub fn rfc3339_ms(text: &str) -> Option<i64> {
    // The parser takes some more: a space for the `T`, a zone in brackets.
    let t = text.as_bytes().get(10)?.eq_ignore_ascii_case(&b'T');
    if !t || text.ends_with(']') {
        return None;
    }
    Some(text.parse::<Timestamp>().ok()?.as_millisecond())
}

/// Whether a text is an RFC 3339 time.
pub fn is_rfc3339(text: &str) -> bool {
    rfc3339_ms(text).is_some()
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
    fn times_compare_whatever_their_zone_and_fraction() {
        assert_eq!(
            rfc3339_ms("2026-11-23T17:08:54Z"),
            rfc3339_ms("2026-11-23T18:08:54.000+01:00")
        );
        assert!(rfc3339_ms("2026-11-23T17:08:54.056Z") > rfc3339_ms("2026-11-23T17:08:54Z"));
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
