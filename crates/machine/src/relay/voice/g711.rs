//! G.711: eight bits a sample, on a scale that is fine for quiet and coarse for loud.

/// What keeps µ-law's segments in step with powers of two.
const BIAS: i32 = 0x84;
/// The loudest sample that the biased scale holds.
const CLIP: i32 = 32_635;
/// µ-law for no sound.
pub(super) const ULAW_SILENCE: u8 = 0xFF;

/// One sample of µ-law.
pub(super) fn from_ulaw(byte: u8) -> i16 {
    let bits = !byte;
    let mantissa = i32::from(bits & 0x0F);
    let segment = (bits >> 4) & 7;
    let magnitude = (((mantissa << 3) + BIAS) << segment) - BIAS;
    clamp(if bits & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    })
}

/// One sample to µ-law.
pub(super) fn to_ulaw(sample: i16) -> u8 {
    let sample = i32::from(sample);
    let magnitude = sample.abs().min(CLIP) + BIAS;
    let segment = top_bit(magnitude) - 7;
    let mantissa = (magnitude >> (segment + 3)) & 0x0F;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !byte(sign | (segment << 4) | mantissa)
}

/// One sample of A-law.
pub(super) fn from_alaw(byte: u8) -> i16 {
    let bits = byte ^ 0x55;
    let mantissa = i32::from(bits & 0x0F) << 4;
    let segment = (bits >> 4) & 7;
    let magnitude = match segment {
        0 => mantissa + 8,
        segment => (mantissa + 0x108) << (segment - 1),
    };
    clamp(if bits & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    })
}

/// One sample to A-law.
pub(super) fn to_alaw(sample: i16) -> u8 {
    // Ones' complement: the two halves of the scale have no zero in common.
    let (sign, magnitude) = if sample < 0 {
        (0, i32::from(!sample) >> 3)
    } else {
        (0x80, i32::from(sample) >> 3)
    };
    let bits = if magnitude < 32 {
        magnitude >> 1
    } else {
        let segment = top_bit(magnitude) - 4;
        (segment << 4) | ((magnitude >> segment) & 0x0F)
    };
    byte(sign | bits) ^ 0x55
}

fn top_bit(magnitude: i32) -> i32 {
    31 - magnitude.leading_zeros().cast_signed()
}

fn byte(bits: i32) -> u8 {
    u8::try_from(bits & 0xFF).unwrap_or(u8::MAX)
}

fn clamp(sample: i32) -> i16 {
    i16::try_from(sample).unwrap_or(if sample < 0 { i16::MIN } else { i16::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_as_itself() {
        for code in 0..=u8::MAX {
            // µ-law has two zeros.
            if code != 0x7F {
                assert_eq!(to_ulaw(from_ulaw(code)), code, "µ-law {code:#x}");
            }
            assert_eq!(to_alaw(from_alaw(code)), code, "A-law {code:#x}");
        }
    }

    #[test]
    fn known_codes() {
        assert_eq!(from_ulaw(ULAW_SILENCE), 0);
        assert_eq!(from_ulaw(0x00), -32_124);
        assert_eq!(from_ulaw(0x80), 32_124);
        assert_eq!(from_alaw(0xD5), 8);
        assert_eq!(from_alaw(0x55), -8);
        assert_eq!(from_alaw(0xAA), 32_256);
    }

    #[test]
    fn no_sample_comes_back_far_off() {
        for sample in (i16::MIN..=i16::MAX).step_by(7) {
            let most = (i32::from(sample).abs() / 16).max(20) + 200;
            for heard in [from_ulaw(to_ulaw(sample)), from_alaw(to_alaw(sample))] {
                assert!(
                    (i32::from(heard) - i32::from(sample)).abs() < most,
                    "{sample} {heard}"
                );
            }
        }
    }
}
