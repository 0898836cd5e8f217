//! A sound that comes in pieces, from one format to another.

use super::audio::{Rate, Sound};
use super::format::Format;
use super::resample::{Stream, Way};

/// See the module.
#[derive(Debug)]
pub(super) struct Converter {
    from: Format,
    to: Format,
    /// Where the rates differ.
    stream: Option<Stream>,
}

impl Converter {
    pub(super) fn new(from: Format, to: Format) -> Self {
        let way = match (from.rate(), to.rate()) {
            (Rate::Narrow, Rate::Wide) => Some(Way::Up),
            (Rate::Wide, Rate::Narrow) => Some(Way::Down),
            _ => None,
        };
        Self {
            from,
            to,
            stream: way.map(Stream::new),
        }
    }

    /// A piece of it; `None` where it ends within a sample.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut sound = Sound::decode(self.from, bytes)?;
        if let Some(stream) = &mut self.stream {
            sound.samples = stream.push(&sound.samples);
            sound.rate = self.to.rate();
        }
        Some(sound.encode(self.to))
    }

    /// What is left of it at its end.
    pub(super) fn finish(self) -> Vec<u8> {
        let samples = self.stream.map(Stream::finish).unwrap_or_default();
        Sound {
            rate: self.to.rate(),
            samples,
        }
        .encode(self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_becomes_every_other() {
        let sound = super::super::audio::chime(4, Rate::Wide);
        for from in [Format::Pcm, Format::Pcmu, Format::Pcma] {
            let bytes = sound.encode(from);
            for to in [Format::Pcm, Format::Pcmu, Format::Pcma] {
                let mut converter = Converter::new(from, to);
                let mut out = Vec::new();
                for piece in bytes.chunks(160) {
                    out.extend(converter.push(piece).unwrap());
                }
                out.extend(converter.finish());
                let ms = Sound::decode(to, &out).unwrap().ms();
                assert_eq!(ms, sound.ms(), "{from:?} {to:?}");
            }
        }
        assert_eq!(Converter::new(Format::Pcm, Format::Pcmu).push(&[0]), None);
    }
}
