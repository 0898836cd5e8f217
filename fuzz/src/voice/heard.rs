//! A server's event as the browser's driver has it, as a list: `false` stands for what JSON has no word for, `undefined`.

use serde_json::Value;
use tautline_machine::client::voice::List;

pub(super) struct Heard(pub(super) Vec<Value>);

impl Heard {
    fn value(&self, at: usize) -> &Value {
        self.0.get(at).unwrap_or(&Value::Null)
    }
}

impl List for Heard {
    fn text(&self, at: usize) -> Option<String> {
        self.value(at).as_str().map(str::to_owned)
    }

    fn float(&self, at: usize) -> Option<f64> {
        self.value(at).as_f64()
    }

    fn is(&self, at: usize) -> bool {
        self.value(at) == true
    }

    fn is_absent(&self, at: usize) -> bool {
        self.value(at) == false
    }
}
