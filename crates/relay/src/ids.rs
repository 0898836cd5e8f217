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
