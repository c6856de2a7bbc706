//! Which encoding an object's text is in.

use std::str::FromStr;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};

/// How many bytes [`find_encoding`] looks at where an encoding is to be detected.
pub const ENCODING_SAMPLE_BYTES_MAX: usize = 64 << 10;
/// How many bytes a byte-order mark can have.
const MARK_BYTES_MAX: usize = 4;
/// Of the bytes at even places, or of those at odd ones, one in so many is zero in UTF-16.
const UTF_16_UNITS_PER_ZERO_MAX: usize = 10;

/// What a feed says of its objects' encoding. A byte-order mark has the last word, whatever this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncodingOption {
    /// UTF-8.
    #[default]
    Auto,
    /// What a sample of the object looks like.
    Detect,
    /// This one.
    Named(&'static Encoding),
}

impl EncodingOption {
    /// How much of an object [`find_encoding`] wants to see, in bytes.
    pub fn sample_bytes(self) -> usize {
        match self {
            Self::Detect => ENCODING_SAMPLE_BYTES_MAX,
            Self::Auto | Self::Named(_) => MARK_BYTES_MAX,
        }
    }
}

impl FromStr for EncodingOption {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "detect" => Ok(Self::Detect),
            label => Encoding::for_label_no_replacement(label.as_bytes())
                .map(Self::Named)
                .ok_or_else(|| {
                    Error::new(
                        ErrorKind::Configuration,
                        format!("{label:?} is not an encoding that is known"),
                    )
                    .with_advice(
                        "write auto, detect, or a name from encoding.spec.whatwg.org, such as \
                         windows-1252",
                    )
                }),
        }
    }
}

/// What becomes of a byte sequence that is no character of the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadBytes {
    /// Its row is bad.
    #[default]
    BadRow,
    /// It is read as U+FFFD.
    Replace,
}

/// An object's encoding, and what says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundEncoding {
    /// The encoding.
    pub encoding: &'static Encoding,
    /// What says so.
    pub evidence: EncodingEvidence,
    /// How many bytes at the object's start are a mark that is no text. UTF-8's is left to the decoder.
    pub mark_bytes: usize,
}

/// Why an encoding is taken for an object's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodingEvidence {
    /// The byte-order mark at its start.
    Mark,
    /// The feed's configuration.
    Configured,
    /// A sample of it.
    Detected,
    /// Nothing says anything else.
    Default,
}

/// The encoding of an object that begins with `sample`, of which [`EncodingOption::sample_bytes`] are
/// enough; `whole` says that it is the whole object.
///
/// # Errors
/// [`ErrorKind::SourceInvalid`] for UTF-32.
pub fn find_encoding(sample: &[u8], whole: bool, option: EncodingOption) -> Result<FoundEncoding> {
    let found = |encoding, evidence| FoundEncoding { encoding, evidence, mark_bytes: 0 };
    if sample.starts_with(&[0xFF, 0xFE, 0, 0]) || sample.starts_with(&[0, 0, 0xFE, 0xFF]) {
        return Err(Error::new(ErrorKind::SourceInvalid, "it is UTF-32, which is not read")
            .with_advice("convert it to UTF-8"));
    }
    if let Some((encoding, mark_bytes)) = Encoding::for_bom(sample) {
        let mark_bytes = if encoding == UTF_8 { 0 } else { mark_bytes };
        return Ok(FoundEncoding { encoding, evidence: EncodingEvidence::Mark, mark_bytes });
    }
    Ok(match option {
        EncodingOption::Auto => found(UTF_8, EncodingEvidence::Default),
        EncodingOption::Named(encoding) => found(encoding, EncodingEvidence::Configured),
        EncodingOption::Detect => found(detect(sample, whole), EncodingEvidence::Detected),
    })
}

fn detect(sample: &[u8], whole: bool) -> &'static Encoding {
    utf_16_by_zeros(sample).unwrap_or_else(|| {
        let sample = &sample[..sample.len().min(ENCODING_SAMPLE_BYTES_MAX)];
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
        detector.feed(sample, whole);
        detector.guess(None, Utf8Detection::Allow)
    })
}

/// UTF-16, if one byte of many units is zero, and hardly ever the other: what every text has whose
/// delimiters, digits and line ends are ASCII.
fn utf_16_by_zeros(sample: &[u8]) -> Option<&'static Encoding> {
    let units = sample.as_chunks::<2>().0;
    let zeros = |byte: usize| units.iter().filter(|unit| unit[byte] == 0).count();
    let (first, second) = (zeros(0), zeros(1));
    let many = units.len() / UTF_16_UNITS_PER_ZERO_MAX + 1;
    let hardly_any = |zeros: usize, other: usize| zeros * UTF_16_UNITS_PER_ZERO_MAX < other;
    if second >= many && hardly_any(first, second) {
        Some(UTF_16LE)
    } else if first >= many && hardly_any(second, first) {
        Some(UTF_16BE)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::{GB18030, SHIFT_JIS, WINDOWS_1252};

    use super::*;

    fn found(sample: &[u8], option: &str) -> (&'static str, EncodingEvidence, usize) {
        let found = find_encoding(sample, true, option.parse().unwrap()).unwrap();
        (found.encoding.name(), found.evidence, found.mark_bytes)
    }

    #[test]
    fn a_mark_has_the_last_word() {
        use EncodingEvidence::{Configured, Default, Mark};
        for option in ["auto", "detect", "latin1"] {
            assert_eq!(found(b"\xEF\xBB\xBFa", option), ("UTF-8", Mark, 0));
            assert_eq!(found(b"\xFF\xFEa\0", option), ("UTF-16LE", Mark, 2));
            assert_eq!(found(b"\xFE\xFF\0a", option), ("UTF-16BE", Mark, 2));
            for utf_32 in [b"\xFF\xFE\0\0", b"\0\0\xFE\xFF"] {
                let error = find_encoding(utf_32, true, option.parse().unwrap()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::SourceInvalid);
            }
        }
        assert_eq!(found(b"a\xE9", "auto"), ("UTF-8", Default, 0));
        assert_eq!(found(b"a\xE9", "latin1"), ("windows-1252", Configured, 0));
        assert_eq!(found(b"", "auto"), ("UTF-8", Default, 0));
    }

    #[test]
    fn a_sample_tells_its_encoding_if_asked() {
        let utf_16 = |text: &str, bytes: fn(u16) -> [u8; 2]| {
            text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>()
        };
        let mixed = "名前,価格\n東京都,1200\n大阪府,980\n";
        for text in ["id,name\n1,Zoë\n", mixed] {
            let detected = |sample: &[u8]| found(sample, "detect").0;
            assert_eq!(detected(&utf_16(text, u16::to_le_bytes)), "UTF-16LE");
            assert_eq!(detected(&utf_16(text, u16::to_be_bytes)), "UTF-16BE");
            assert_eq!(detected(text.as_bytes()), "UTF-8");
        }
        let detected = |encoding: &'static Encoding, text: &str| {
            let (bytes, _, unmappable) = encoding.encode(text);
            assert!(!unmappable);
            assert_eq!(found(&bytes, "detect").0, encoding.name());
        };
        detected(SHIFT_JIS, mixed);
        detected(WINDOWS_1252, "nom;ville\nHélène;Besançon\nFrançois;Évreux\n");
        detected(encoding_rs::GBK, &"姓名,城市\n张伟,北京\n王芳,上海\n".repeat(5));
        assert_eq!(found(b"id,name\n1,x\n", "detect").0, "UTF-8");
        assert_eq!(found(b"a\0b\0", "auto").0, "UTF-8");
        assert!("gb18030".parse::<EncodingOption>().unwrap() == EncodingOption::Named(GB18030));
    }

    #[test]
    fn what_is_no_encoding_is_refused() {
        // The last is one that a browser replaces by nothing at all.
        for label in ["utf-9", "", "iso-2022-kr"] {
            let error = label.parse::<EncodingOption>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{label}");
        }
    }
}
