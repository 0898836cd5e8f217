/// Checks UTF-8 as bytes arrive, across frame and read boundaries, so that a message is refused at its first
/// wrong byte (RFC 6455 §8.1).
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// The beginning of a character whose end has not arrived; at most three bytes.
    open: [u8; 4],
    len: usize,
}

impl Utf8 {
    /// Takes more bytes; `false` when the text cannot be UTF-8 any more.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> bool {
        while self.len > 0 {
            let Some((&first, rest)) = bytes.split_first() else {
                return true;
            };
            let Some(slot) = self.open.get_mut(self.len) else {
                return false;
            };
            *slot = first;
            self.len += 1;
            bytes = rest;
            match std::str::from_utf8(self.open.get(..self.len).unwrap_or_default()) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) if error.error_len().is_some() => false,
            Err(error) => {
                let tail = bytes.get(error.valid_up_to()..).unwrap_or_default();
                for (slot, &byte) in self.open.iter_mut().zip(tail) {
                    *slot = byte;
                }
                self.len = tail.len();
                true
            }
        }
    }

    /// Whether the text may end here.
    pub(super) fn complete(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8], chunk: usize) -> bool {
        let mut utf8 = Utf8::default();
        bytes.chunks(chunk).all(|chunk| utf8.push(chunk)) && utf8.complete()
    }

    #[test]
    fn agrees_with_the_standard_library_at_any_split() {
        let samples: &[&[u8]] = &[
            "κόσμε plain € 😀".as_bytes(),
            b"\xed\xa0\x80",
            b"\xc0\xaf",
            b"\xf4\x90\x80\x80",
            b"\xf4\x8f\xbf\xbf",
            b"\xe2\x82",
            b"a\xffb",
            b"",
            b"\xf8\x88\x80\x80\x80",
        ];
        for sample in samples {
            for chunk in 1..=4 {
                assert_eq!(
                    whole(sample, chunk),
                    std::str::from_utf8(sample).is_ok(),
                    "{sample:?} by {chunk}"
                );
            }
        }
    }

    #[test]
    fn refuses_at_the_first_wrong_byte() {
        let mut utf8 = Utf8::default();
        assert!(utf8.push(b"\xf4"));
        assert!(!utf8.push(b"\x90"), "no character begins like that");
    }
}
