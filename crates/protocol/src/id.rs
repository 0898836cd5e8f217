/// A position in a restaurant's log: the first event has 1, no gaps within an [`Epoch`].
pub type Seq = u64;

/// The name of one history of a restaurant's log; another name means positions of the old one are void.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(transparent)
)]
pub struct Epoch(std::sync::Arc<str>);

impl Epoch {
    /// An epoch of that name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// 1–64 of `[A-Za-z0-9._~-]`: the ids a client makes for its commands.
pub fn is_command_id(id: &str) -> bool {
    matches!(id.len(), 1..=64)
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
}

/// A restaurant's id: the same letters as a command id.
pub fn is_restaurant_id(id: &str) -> bool {
    is_command_id(id)
}

/// `[a-z][a-z0-9_-]*(:[a-z0-9_.-]+){0,3}`, at most 64 characters.
pub fn is_event_type(name: &str) -> bool {
    if name.len() > 64 {
        return false;
    }
    let mut parts = name.split(':');
    let head = parts.next().unwrap_or_default();
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    let mut tails = 0;
    head.starts_with(|c: char| c.is_ascii_lowercase())
        && head.bytes().all(lower)
        && parts.all(|part| {
            tails += 1;
            tails <= 3 && !part.is_empty() && part.bytes().all(|b| lower(b) || b == b'.')
        })
}

/// Types the wire itself uses, which nobody may publish.
pub fn is_reserved_type(name: &str) -> bool {
    matches!(
        name,
        "connected"
            | "auth"
            | "ack"
            | "nack"
            | "error"
            | "ping"
            | "pong"
            | "cursor"
            | "degraded"
            | "reset"
            | "subscribe"
            | "unsubscribe"
    ) || name.starts_with("auth:")
        || name.starts_with("sync_")
        || name.starts_with("orders:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_types() {
        for good in [
            "notification",
            "order:created",
            "kds:update",
            "a:b:c:d",
            "table_1:x.y",
        ] {
            assert!(is_event_type(good), "{good}");
        }
        for bad in [
            "",
            "1x",
            "A",
            "a:",
            "a:b:c:d:e",
            "a b",
            "a:B",
            &"a".repeat(65),
        ] {
            assert!(!is_event_type(bad), "{bad}");
        }
        assert!(
            is_reserved_type("auth:failed")
                && is_reserved_type("orders:archived")
                && !is_reserved_type("order:created")
        );
    }

    #[test]
    fn command_ids() {
        assert!(is_command_id("a-B.9_~") && is_command_id(&"x".repeat(64)));
        assert!(
            !is_command_id("")
                && !is_command_id("a b")
                && !is_command_id(&"x".repeat(65))
                && !is_command_id("é")
        );
    }
}
