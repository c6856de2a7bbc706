//! Bytes that are written as text. Each function appends them, and leaves garbage where there are none.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Two hexadecimal digits for each byte, in either case.
pub(crate) fn hexadecimal(text: &[u8], bytes: &mut Vec<u8>) -> Option<()> {
    let start = bytes.len();
    bytes.resize(start + text.len() / 2, 0);
    hex::decode_to_slice(text, &mut bytes[start..]).ok()
}

/// With `+` and `/`, with or without the padding.
pub(crate) fn base64(text: &[u8], bytes: &mut Vec<u8>) -> Option<()> {
    BASE64.decode_vec(text, bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(decode: fn(&[u8], &mut Vec<u8>) -> Option<()>, text: &str) -> Option<Vec<u8>> {
        let mut bytes = b"before".to_vec();
        decode(text.as_bytes(), &mut bytes)?;
        bytes.strip_prefix(b"before").map(<[u8]>::to_vec)
    }

    #[test]
    fn hexadecimal_digits_come_in_pairs() {
        let hex = |text: &str| decoded(hexadecimal, text);
        assert_eq!(hex(""), Some(vec![]));
        assert_eq!(hex("00ffA1"), Some(vec![0, 0xFF, 0xA1]));
        for bad in ["0", "abc", "0x00", "zz", "0 0", "é"] {
            assert_eq!(hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn base64_has_its_padding_or_none() {
        let base64 = |text: &str| decoded(base64, text);
        assert_eq!(base64(""), Some(vec![]));
        assert_eq!(base64("/+8="), Some(vec![0xFF, 0xEF]));
        assert_eq!(base64("/+8"), Some(vec![0xFF, 0xEF]));
        // Neither another alphabet, nor bits that are no byte, nor a line end.
        for bad in ["_-8=", "/+9=", "/", "/+8==", "AAAA\nAAAA", "é"] {
            assert_eq!(base64(bad), None, "{bad}");
        }
    }
}
