//! The events that are published: all of one length, each with its number where a listener finds it without parsing.

const KIND: &str = "bench:event";
/// Digits of an event's number.
pub(crate) const DIGITS: usize = 10;

/// What stands before the number: in an event as it is published, and as a relay delivers it.
pub(crate) const LEAD: &str = r#""payload":{"n":""#;

/// `{"type":…,"payload":{"n":"0000000007","pad":"…"}}` with this much padding.
pub(crate) fn event(n: u64, pad: usize) -> String {
    // Text as orders have it, not one letter: nothing on the way may gain by it.
    const TEXT: &str = "Burger, no onions; table 7 by the window. Two covers, one allergy: nuts. ";
    let pad: String = TEXT.chars().cycle().take(pad).collect();
    format!(r#"{{"type":"{KIND}",{LEAD}{n:0DIGITS$}","pad":"{pad}"}}}}"#)
}

/// Bytes of an event without padding.
pub(crate) fn bare() -> usize {
    event(0, 0).len()
}

/// A number as it was written.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |n: u64, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        Some(n * 10 + u64::from(digit))
    })
}
