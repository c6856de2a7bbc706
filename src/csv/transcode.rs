//! From an object's encoding to UTF-8.

use encoding_rs::{Decoder, DecoderResult, UTF_8, UTF_16BE, UTF_16LE};
use memchr::memchr2;

use super::encoding::{BadBytes, FoundEncoding};
use super::offsets::OffsetMap;

/// What stands for a byte sequence that is no character. It is no UTF-8, so that its row is bad.
const MALFORMED: &[u8] = b"\xFF";
const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

/// Turns the bytes of one object into UTF-8.
///
/// However they are cut into slices, the same text and the same [`OffsetMap`] come out.
pub struct Transcoder {
    decoder: Decoder,
    unit: Unit,
    malformed: &'static [u8],
    offsets: OffsetMap,
    /// Bytes at the object's start that are no text.
    mark_bytes: usize,
    /// Bytes of the object that were taken, and of the text that were given.
    original: u64,
    text: u64,
    last_byte: u8,
}

/// What the encoding writes a line end as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// One byte, as in ASCII: in no encoding is a line end a part of another character.
    Byte,
    LittleEndian,
    BigEndian,
}

impl Unit {
    fn bytes(self) -> usize {
        if self == Self::Byte { 1 } else { 2 }
    }
}

impl Transcoder {
    /// A transcoder for one object; nothing for one that is to be read as it is.
    pub fn new(found: &FoundEncoding, bad_bytes: BadBytes) -> Option<Self> {
        let FoundEncoding { encoding, mark_bytes, .. } = *found;
        if encoding == UTF_8 && bad_bytes == BadBytes::BadRow {
            return None;
        }
        let unit = match encoding {
            _ if encoding == UTF_16LE => Unit::LittleEndian,
            _ if encoding == UTF_16BE => Unit::BigEndian,
            _ => Unit::Byte,
        };
        let malformed = match bad_bytes {
            BadBytes::BadRow => MALFORMED,
            BadBytes::Replace => REPLACEMENT,
        };
        Some(Self {
            decoder: encoding.new_decoder_without_bom_handling(),
            unit,
            malformed,
            offsets: OffsetMap::new(mark_bytes as u64, unit.bytes() as u64),
            mark_bytes,
            original: 0,
            text: 0,
            last_byte: 0,
        })
    }

    /// Where in the object the text's lines are.
    pub fn offsets(&self) -> OffsetMap {
        self.offsets.clone()
    }

    /// Appends the text of the next `bytes` to `text`, at most three bytes for each and a few more;
    /// `last` says that none follow, nor any further call.
    pub fn transcode(&mut self, mut bytes: &[u8], last: bool, text: &mut Vec<u8>) {
        let mark = self.mark_bytes.min(bytes.len());
        self.mark_bytes -= mark;
        self.original += mark as u64;
        bytes = &bytes[mark..];
        // The first character may be a mark that the decoder passes over: what follows has its own place.
        while self.text == 0
            && let Some((first, rest)) = bytes.split_at_checked(1)
        {
            self.append(first, false, text);
            if self.text > 0 {
                self.offsets.record(self.text, self.original);
            }
            bytes = rest;
        }
        while let Some(end) = self.line_end(bytes) {
            let (line, rest) = bytes.split_at(end);
            self.append(line, false, text);
            self.offsets.record(self.text, self.original);
            bytes = rest;
        }
        if last || !bytes.is_empty() {
            self.append(bytes, last, text);
        }
    }

    /// Where the first line of `bytes` ends that ends in them.
    fn line_end(&self, bytes: &[u8]) -> Option<usize> {
        let is_end = |byte: u8| matches!(byte, b'\n' | b'\r');
        if self.unit == Unit::Byte {
            return memchr2(b'\n', b'\r', bytes).map(|position| position + 1);
        }
        // The second byte of each unit, the first of which may have come before.
        let taken = (self.original % 2) as usize;
        (1 - taken..bytes.len()).step_by(2).find_map(|second| {
            let first = if second == 0 { self.last_byte } else { bytes[second - 1] };
            let (low, high) = match self.unit {
                Unit::BigEndian => (bytes[second], first),
                _ => (first, bytes[second]),
            };
            (high == 0 && is_end(low)).then_some(second + 1)
        })
    }

    fn append(&mut self, bytes: &[u8], last: bool, text: &mut Vec<u8>) {
        let before = text.len();
        let mut rest = bytes;
        loop {
            let start = text.len();
            let room = self.decoder.max_utf8_buffer_length_without_replacement(rest.len());
            text.resize(start + room.unwrap_or(rest.len()), 0);
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(rest, &mut text[start..], last);
            text.truncate(start + written);
            rest = &rest[read..];
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => text.extend_from_slice(self.malformed),
            }
        }
        self.original += bytes.len() as u64;
        self.text += (text.len() - before) as u64;
        self.last_byte = bytes.last().copied().unwrap_or(self.last_byte);
    }
}

impl std::fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transcoder").field("encoding", &self.decoder.encoding()).finish()
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::{Encoding, GB18030};
    use proptest::prelude::*;

    use super::*;
    use crate::csv::encoding::{EncodingOption, find_encoding};

    const ENCODINGS: [&str; 12] = [
        "utf-8",
        "utf-16le",
        "utf-16be",
        "windows-1252",
        "windows-1251",
        "koi8-r",
        "shift_jis",
        "euc-jp",
        "iso-2022-jp",
        "gb18030",
        "big5",
        "euc-kr",
    ];

    fn transcoder(encoding: &str, bytes: &[u8], bad_bytes: BadBytes) -> Option<Transcoder> {
        let option: EncodingOption = encoding.parse().unwrap();
        Transcoder::new(&find_encoding(bytes, true, option).unwrap(), bad_bytes)
    }

    /// The text, and each of its lines' place in the object.
    fn transcoded(mut transcoder: Transcoder, slices: &[&[u8]]) -> (Vec<u8>, Vec<u64>) {
        let mut text = Vec::new();
        for (i, slice) in slices.iter().enumerate() {
            transcoder.transcode(slice, i + 1 == slices.len(), &mut text);
        }
        if slices.is_empty() {
            transcoder.transcode(b"", true, &mut text);
        }
        let starts = (0..text.len()).filter(|&i| i == 0 || matches!(text[i - 1], b'\n' | b'\r'));
        let offsets = transcoder.offsets();
        let lines = starts.map(|start| offsets.original_of(start as u64)).collect();
        (text, lines)
    }

    /// The same, line by line, by a decoder that replaces.
    fn reference(encoding: &'static Encoding, lines: &[Vec<u8>]) -> (String, Vec<u64>) {
        let (mut text, mut starts, mut original) = (String::new(), Vec::new(), 0);
        for line in lines {
            starts.push(original);
            text.push_str(&encoding.decode_without_bom_handling(line).0);
            original += line.len() as u64;
        }
        (text, starts)
    }

    /// `bytes` as a whole, byte by byte, and in two at every place.
    fn cuts(bytes: &[u8]) -> Vec<Vec<&[u8]>> {
        let mut cuts: Vec<Vec<&[u8]>> = vec![bytes.chunks(1).collect(), bytes.chunks(3).collect()];
        cuts.extend((0..=bytes.len()).map(|cut| vec![&bytes[..cut], &bytes[cut..]]));
        cuts
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_same_text_and_places_come_out(
            encoding in prop::sample::select(&ENCODINGS[..]),
            texts in prop::collection::vec("[a-c,éßя日本€𝄞ｱ\u{FF61}\"]{0,6}", 1..6),
            end in prop::sample::select(&["\n", "\r", "\r\n"][..]),
        ) {
            let encoder = Encoding::for_label(encoding.as_bytes()).unwrap();
            let lines: Vec<Vec<u8>> = texts.iter().map(|text| {
                let line = format!("{text}{end}");
                let unit: fn(u16) -> [u8; 2] = match encoding {
                    "utf-16le" => u16::to_le_bytes,
                    "utf-16be" => u16::to_be_bytes,
                    _ => return encoder.encode(&line).0.into_owned(),
                };
                line.encode_utf16().flat_map(unit).collect()
            }).collect();
            let bytes = lines.concat();
            let (text, starts) = reference(encoder, &lines);
            for slices in cuts(&bytes) {
                let transcoder = transcoder(encoding, &bytes, BadBytes::Replace).unwrap();
                let (actual, places) = transcoded(transcoder, &slices);
                prop_assert_eq!(&String::from_utf8(actual).unwrap(), &text);
                // In the reference, CR LF ends one line.
                prop_assert!(starts.iter().all(|start| places.contains(start)), "{:?}", places);
            }
        }

        #[test]
        fn any_bytes_are_read_alike_however_they_are_cut(
            encoding in prop::sample::select(&ENCODINGS[..]),
            bytes in prop::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'\r'), Just(0), any::<u8>()], 0..40,
            ),
        ) {
            let read = |bad_bytes, slices: &[&[u8]]| {
                let option: EncodingOption = encoding.parse().unwrap();
                let found = find_encoding(&bytes, true, option).ok()?;
                Some(transcoded(Transcoder::new(&found, bad_bytes)?, slices))
            };
            for bad_bytes in [BadBytes::BadRow, BadBytes::Replace] {
                let whole = read(bad_bytes, &[&bytes]);
                for slices in cuts(&bytes) {
                    prop_assert_eq!(&read(bad_bytes, &slices), &whole);
                }
            }
            if let Some((text, _)) = read(BadBytes::Replace, &[&bytes]) {
                let encoding = Encoding::for_bom(&bytes).map_or_else(
                    || Encoding::for_label(encoding.as_bytes()).unwrap(),
                    |(encoding, _)| encoding,
                );
                let marked = if encoding == UTF_8 { 0 } else {
                    Encoding::for_bom(&bytes).map_or(0, |(_, length)| length)
                };
                let expected = encoding.decode_without_bom_handling(&bytes[marked..]).0;
                prop_assert_eq!(String::from_utf8(text).unwrap(), expected.as_ref());
            }
        }
    }

    #[test]
    fn what_is_no_character_makes_its_row_bad_or_is_replaced() {
        let read = |encoding, bytes: &[u8], bad_bytes| {
            transcoded(transcoder(encoding, bytes, bad_bytes).unwrap(), &[bytes])
        };
        let (text, lines) = read("shift_jis", b"\x93\xFA\n\x81\n\x93\xFA\nx", BadBytes::BadRow);
        assert_eq!(text, b"\xE6\x97\xA5\n\xFF\n\xE6\x97\xA5\nx");
        assert_eq!(lines, [0, 3, 5, 8]);
        let (text, lines) = read("utf-8", b"a\xFF\xE4\xB8\nb\nc", BadBytes::Replace);
        assert_eq!(text, "a\u{FFFD}\u{FFFD}\nb\nc".as_bytes());
        assert_eq!(lines, [0, 5, 7]);
        let (text, lines) = read("utf-16le", b"\xFF\xFE\x00\xD8\n\0b", BadBytes::BadRow);
        assert_eq!(text, b"\xFF\n\xFF");
        assert_eq!(lines, [2, 6]);
    }

    #[test]
    fn a_row_after_a_mark_in_the_text_is_found() {
        for (encoding, bytes, place) in [
            ("gb18030", &b"\x84\x31\x95\x33a"[..], 4),
            ("utf-16le", b"\xFF\xFE\xFF\xFEa\0", 4),
            ("utf-8", b"\xEF\xBB\xBFa", 3),
        ] {
            for slices in cuts(bytes) {
                let mut transcoder = transcoder(encoding, bytes, BadBytes::Replace).unwrap();
                let mut text = Vec::new();
                slices.iter().for_each(|slice| transcoder.transcode(slice, false, &mut text));
                assert_eq!(text, "\u{FEFF}a".as_bytes());
                assert_eq!(transcoder.offsets().original_of(3), place, "{encoding}");
            }
        }
    }

    #[test]
    fn utf_8_is_read_as_it_is_and_a_byte_is_never_lost() {
        assert!(transcoder("utf-8", b"a", BadBytes::BadRow).is_none());
        assert!(transcoder("latin1", b"\xEF\xBB\xBFa", BadBytes::BadRow).is_none());
        let bytes: Vec<u8> = GB18030.encode("日𝄞é").0.into_owned();
        let (text, _) =
            transcoded(transcoder("gb18030", b"", BadBytes::BadRow).unwrap(), &[&bytes]);
        assert_eq!(text, "日𝄞é".as_bytes());
    }
}
