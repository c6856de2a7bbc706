//! Text of any encoding, and where its lines are.

use encoding_rs as er;
use lakefeed::csv::{
    BadBytes, Decoder, Dialect, EncodingOption, FoundEncoding, Limits, OffsetMap, Transcoder,
    find_encoding,
};
use lakefeed::error::{Error, Position};

/// All that there are, but the one that reads nothing.
const ENCODINGS: [&er::Encoding; 39] = [
    er::UTF_8,
    er::UTF_16LE,
    er::UTF_16BE,
    er::SHIFT_JIS,
    er::EUC_JP,
    er::ISO_2022_JP,
    er::GB18030,
    er::GBK,
    er::BIG5,
    er::EUC_KR,
    er::WINDOWS_1252,
    er::WINDOWS_1250,
    er::WINDOWS_1251,
    er::WINDOWS_1253,
    er::WINDOWS_1254,
    er::WINDOWS_1255,
    er::WINDOWS_1256,
    er::WINDOWS_1257,
    er::WINDOWS_1258,
    er::WINDOWS_874,
    er::ISO_8859_2,
    er::ISO_8859_3,
    er::ISO_8859_4,
    er::ISO_8859_5,
    er::ISO_8859_6,
    er::ISO_8859_7,
    er::ISO_8859_8,
    er::ISO_8859_8_I,
    er::ISO_8859_10,
    er::ISO_8859_13,
    er::ISO_8859_14,
    er::ISO_8859_15,
    er::ISO_8859_16,
    er::KOI8_R,
    er::KOI8_U,
    er::IBM866,
    er::MACINTOSH,
    er::X_MAC_CYRILLIC,
    er::X_USER_DEFINED,
];
/// What a slice's text may have beyond three bytes for each of its own: that of the bytes before it that
/// were not yet a character.
const PENDING_TEXT_BYTES_MAX: usize = 16;

/// The first bytes choose the encoding, what is said of it, and the cuts; the rest is the object.
pub fn transcoding(data: &[u8]) {
    let Some((&[encoding, said, slice], object)) = data.split_first_chunk::<3>() else { return };
    let option = match said % 4 {
        0 => EncodingOption::Auto,
        1 => EncodingOption::Detect,
        _ => EncodingOption::Named(ENCODINGS[usize::from(encoding) % ENCODINGS.len()]),
    };
    let sample = &object[..object.len().min(option.sample_bytes())];
    let Ok(found) = find_encoding(sample, sample.len() == object.len(), option) else {
        assert!([[0xFF, 0xFE, 0, 0], [0, 0, 0xFE, 0xFF]].iter().any(|m| object.starts_with(m)));
        return;
    };
    for bad_bytes in [BadBytes::BadRow, BadBytes::Replace] {
        alike_and_true(&found, bad_bytes, object, 1 + usize::from(slice));
    }
}

/// However it is cut, the text is what `encoding_rs` makes of it in one go, its lines are where a decoder
/// says that is given one byte after the other, and so are those of the rows that are rejected.
fn alike_and_true(found: &FoundEncoding, bad_bytes: BadBytes, object: &[u8], slice_bytes: usize) {
    let Some((text, offsets)) = transcoded(found, bad_bytes, object, usize::MAX) else {
        assert_eq!((found.encoding, bad_bytes), (er::UTF_8, BadBytes::BadRow));
        return;
    };
    let (cut, cut_offsets) = transcoded(found, bad_bytes, object, slice_bytes).unwrap();
    assert_eq!(text, cut);

    let (expected, _) = found.encoding.decode_without_bom_handling(&object[found.mark_bytes..]);
    assert_eq!(String::from_utf8_lossy(&text), expected);
    assert!(bad_bytes == BadBytes::BadRow || std::str::from_utf8(&text).is_ok());

    let all_lines = lines(found, object, &['\n', '\r']);
    assert_eq!(places(&text, &offsets), all_lines);
    assert_eq!(places(&text, &cut_offsets), all_lines);
    let mut rows = lines(found, object, &['\n']);
    rows[0] = first_row(found, object);
    for Position { line, byte, .. } in rejected(found, bad_bytes, object, slice_bytes) {
        assert_eq!(rows.get(line as usize - 1), Some(&byte), "line {line} of {rows:?}");
    }
}

/// The text and its map; nothing where the object is to be read as it is.
fn transcoded(
    found: &FoundEncoding,
    bad_bytes: BadBytes,
    object: &[u8],
    slice_bytes: usize,
) -> Option<(Vec<u8>, OffsetMap)> {
    let mut transcoder = Transcoder::new(found, bad_bytes)?;
    let mut all = Vec::new();
    for (slice, last) in slices(object, slice_bytes) {
        let mut text = Vec::new();
        transcoder.transcode(slice, last, &mut text);
        assert!(text.len() <= 3 * slice.len() + PENDING_TEXT_BYTES_MAX);
        all.append(&mut text);
    }
    Some((all, transcoder.offsets()))
}

/// `object` as a whole, or in slices of `slice_bytes` and an empty one to end it.
fn slices(object: &[u8], slice_bytes: usize) -> Vec<(&[u8], bool)> {
    if slice_bytes == usize::MAX {
        return vec![(object, true)];
    }
    let slices = object.chunks(slice_bytes).map(|slice| (slice, false));
    slices.chain([(&[][..], true)]).collect()
}

/// Where in the object each line of `text` starts, also that which is empty at its end.
fn places(text: &[u8], offsets: &OffsetMap) -> Vec<u64> {
    let ends = text.iter().enumerate().filter(|(_, byte)| matches!(byte, b'\n' | b'\r'));
    let starts = std::iter::once(0).chain(ends.map(|(end, _)| end as u64 + 1));
    starts.map(|start| offsets.original_of(start)).collect()
}

/// The same without a map, of lines that end with one of `line_ends`.
fn lines(found: &FoundEncoding, object: &[u8], line_ends: &[char]) -> Vec<u64> {
    let ends = characters(found, object).filter(|(text, _)| text.ends_with(line_ends));
    std::iter::once(found.mark_bytes as u64).chain(ends.map(|(_, end)| end)).collect()
}

/// Where the first row is: after a mark in the text, if there is one, which is none of the row.
fn first_row(found: &FoundEncoding, object: &[u8]) -> u64 {
    let first = characters(found, object).find(|(text, _)| !text.is_empty());
    first.filter(|(text, _)| text == "\u{FEFF}").map_or(found.mark_bytes as u64, |(_, end)| end)
}

/// What each byte of the object adds to its text, and where it ends.
fn characters(found: &FoundEncoding, object: &[u8]) -> impl Iterator<Item = (String, u64)> {
    let mut decoder = found.encoding.new_decoder_without_bom_handling();
    object.iter().enumerate().skip(found.mark_bytes).map(move |(position, byte)| {
        let mut text = String::with_capacity(PENDING_TEXT_BYTES_MAX);
        let (_, read, _) = decoder.decode_to_string(&[*byte], &mut text, false);
        assert_eq!(read, 1);
        (text, position as u64 + 1)
    })
}

/// Where in the object the rows are that a decoder rejects which reads the text as it comes.
fn rejected(
    found: &FoundEncoding,
    bad_bytes: BadBytes,
    object: &[u8],
    slice_bytes: usize,
) -> Vec<Position> {
    let mut rows = Vec::new();
    // Where the object as a whole is refused, the rows before it were still given.
    let _ = reject_into(&mut rows, found, bad_bytes, object, slice_bytes);
    rows
}

fn reject_into(
    rows: &mut Vec<Position>,
    found: &FoundEncoding,
    bad_bytes: BadBytes,
    object: &[u8],
    slice_bytes: usize,
) -> Result<(), Error> {
    let Some(mut transcoder) = Transcoder::new(found, bad_bytes) else { return Ok(()) };
    let dialect = Dialect { header_rows: 0, ..Dialect::default() };
    let limits = Limits { batch_rows: 2, chunk_bytes: 16, ..Limits::default() };
    let decoder = Decoder::new(super::plan(false), &dialect, limits)?;
    let mut decoder = decoder.with_offsets(Some(transcoder.offsets()));
    for (slice, last) in slices(object, slice_bytes) {
        let mut text = Vec::new();
        transcoder.transcode(slice, last, &mut text);
        let mut text = &text[..];
        while let Some(decoded) = decoder.decode(&mut text)? {
            rows.extend(decoded.rejects.iter().map(|reject| reject.complaint.position.clone()));
        }
    }
    while let Some(decoded) = decoder.finish()? {
        rows.extend(decoded.rejects.iter().map(|reject| reject.complaint.position.clone()));
    }
    Ok(())
}
