/// Writes one JSON object field by field into a `String`.
///
/// The client sends a handful of small frames; a serialiser for them would be a fifth of its code size
/// (`docs/decisions/0002-client-json.md`). Values that are JSON already (payloads) go in as they are.
#[derive(Debug)]
pub struct JsonWriter {
    out: String,
    first: bool,
}

impl JsonWriter {
    /// Begins an object.
    pub fn object() -> Self {
        Self {
            out: String::from("{"),
            first: true,
        }
    }

    /// Begins an object of about this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut out = String::with_capacity(bytes);
        out.push('{');
        Self { out, first: true }
    }

    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
        quote(&mut self.out, key);
        self.out.push(':');
    }

    /// A string field, escaped.
    #[must_use]
    pub fn str(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        quote(&mut self.out, value);
        self
    }

    /// A string field left out when there is none.
    #[must_use]
    pub fn opt_str(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.str(key, value),
            None => self,
        }
    }

    /// An integer field.
    #[must_use]
    pub fn u64(mut self, key: &str, value: u64) -> Self {
        self.key(key);
        push_u64(&mut self.out, value);
        self
    }

    /// An integer field left out when there is none.
    #[must_use]
    pub fn opt_u64(self, key: &str, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.u64(key, value),
            None => self,
        }
    }

    /// A boolean field.
    #[must_use]
    pub fn bool(mut self, key: &str, value: bool) -> Self {
        self.key(key);
        self.out.push_str(if value { "true" } else { "false" });
        self
    }

    /// A field whose value is JSON text already.
    #[must_use]
    pub fn raw(mut self, key: &str, json: &str) -> Self {
        self.key(key);
        self.out.push_str(json);
        self
    }

    /// A raw field left out when there is none.
    #[must_use]
    pub fn opt_raw(self, key: &str, json: Option<&str>) -> Self {
        match json {
            Some(json) => self.raw(key, json),
            None => self,
        }
    }

    /// An array of strings.
    #[must_use]
    pub fn strs<'a>(mut self, key: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        self.key(key);
        self.out.push('[');
        let mut first = true;
        for value in values {
            if !std::mem::take(&mut first) {
                self.out.push(',');
            }
            quote(&mut self.out, value);
        }
        self.out.push(']');
        self
    }

    /// Ends the object and gives its text.
    pub fn end(mut self) -> String {
        self.out.push('}');
        self.out
    }
}

/// Writes one JSON array value by value into a `String`.
#[derive(Debug)]
pub struct JsonList {
    out: String,
}

impl Default for JsonList {
    fn default() -> Self {
        Self {
            out: String::from("["),
        }
    }
}

impl JsonList {
    fn next(&mut self) {
        if self.out.len() > 1 {
            self.out.push(',');
        }
    }

    /// A string, escaped; `null` when there is none.
    pub fn str(&mut self, value: Option<&str>) {
        match value {
            Some(value) => {
                self.next();
                quote(&mut self.out, value);
            }
            None => self.raw("null"),
        }
    }

    /// An integer; `null` when there is none.
    pub fn u64(&mut self, value: Option<u64>) {
        match value {
            Some(value) => {
                self.next();
                push_u64(&mut self.out, value);
            }
            None => self.raw("null"),
        }
    }

    /// A value that is JSON text already.
    pub fn raw(&mut self, json: &str) {
        self.next();
        self.out.push_str(json);
    }

    /// Ends the array and gives its text.
    pub fn end(mut self) -> String {
        self.out.push(']');
        self.out
    }
}

/// Appends `text` as a JSON string (RFC 8259 §7).
pub(crate) fn quote(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                let byte = c as usize;
                out.push_str("\\u00");
                out.push(char::from(HEX[byte >> 4 & 15]));
                out.push(char::from(HEX[byte & 15]));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends an integer without the formatting machinery, which costs the client 6 KB.
pub(crate) fn push_u64(out: &mut String, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend(digits[at..].iter().map(|&d| char::from(d)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_parses_back(text in any::<String>(), n in any::<u64>()) {
            let json = JsonWriter::object().str("t", &text).u64("n", n).bool("b", true)
                .strs("a", [text.as_str(), "x"]).opt_str("none", None).raw("r", "[1]").end();
            let back: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back, serde_json::json!({"t": text, "n": n, "b": true, "a": [text, "x"], "r": [1]}));
        }
    }
}
