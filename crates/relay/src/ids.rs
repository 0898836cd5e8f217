use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// 26 letters of base 32, 128 bits of chance: the id of an order, a session, an epoch.
pub(crate) fn random_id() -> String {
    let mut bits = u128::from_le_bytes(random());
    (0..26)
        .map(|_| {
            let letter = b"0123456789abcdefghjkmnpqrstvwxyz"
                .get((bits & 31) as usize)
                .copied()
                .unwrap_or(b'0');
            bits >>= 5;
            char::from(letter)
        })
        .collect()
}

/// 256 bits of chance, as text: what somebody is let in by.
pub(crate) fn random_secret() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(random::<32>())
}

/// A seed for a machine.
pub(crate) fn random_seed() -> u64 {
    u64::from_le_bytes(random())
}

/// A number below `bound`.
pub(crate) fn random_below(bound: u64) -> u64 {
    u64::from_le_bytes(random()) % bound.max(1)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(
        clippy::expect_used,
        reason = "without the system's chance no id and no epoch can be made"
    )]
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}
