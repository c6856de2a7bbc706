//! What must hold for any bytes: no panic, and the same answer however the bytes come.
//!
//! The fuzzer drives these; `tests/fuzz.rs` replays its corpus and changes it a little, in every run.

// Each target uses one of them.
#![allow(dead_code, unused_imports)]

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use lakefeed::csv::{
    DecodePlan, Decoded, Decoder, Dialect, DialectOptions, Inference, Limits, LineEnding, Reject,
    RowRules, Sample, Target, detect, read_header,
};
use lakefeed::error::{Error, Position};

mod decompression;
mod transcoding;

pub use decompression::{bomb, decompression};
pub use transcoding::transcoding;

/// The first bytes choose dialect, limits and cuts; the rest is the object.
pub fn decoder(data: &[u8]) {
    let Some((knobs, object)) = data.split_first_chunk::<8>() else { return };
    let dialect = dialect(knobs);
    if dialect.check().is_err() {
        return;
    }
    let limits = Limits {
        batch_rows: 1 + usize::from(knobs[4]),
        batch_bytes_max: 64 << (knobs[5] % 10),
        chunk_bytes: 1 << (knobs[6] % 12),
        ..Limits::default()
    };
    let rescue = knobs[3] & 128 != 0;
    let whole = decode(&dialect, limits, rescue, object, usize::MAX);
    let cut = decode(&dialect, limits, rescue, object, 1 + usize::from(knobs[7]));
    assert_eq!(whole.0, cut.0);
    assert_eq!(whole.1.map(|error| error.to_string()), cut.1.map(|error| error.to_string()));
    // What is rescued is a row, and is told all the same.
    let rejected = |decoded: &Decoded| if rescue { 0 } else { decoded.rejects.len() };
    let rows = |decoded: &Decoded| decoded.batch.num_rows() + rejected(decoded);
    assert!(whole.0.iter().all(|decoded| rows(decoded) <= limits.batch_rows));
    for reject in whole.0.iter().flat_map(|decoded| &decoded.rejects) {
        is_where_it_is_said_to_be(reject, object, dialect.line_ending);
    }
}

/// A rejected row begins where its complaint says, which is where a line begins, and on the line that it says.
fn is_where_it_is_said_to_be(reject: &Reject, object: &[u8], line_ending: LineEnding) {
    let Position { line, byte, .. } = reject.complaint.position;
    let (before, row) = object.split_at(byte as usize);
    assert!(row.starts_with(&reject.raw), "{reject:?} is not at its place");
    let before = String::from_utf8_lossy(before.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(before));
    let (before, end) = match line_ending {
        LineEnding::Lf => (before, "\n"),
        LineEnding::Crlf => (before, "\r\n"),
        LineEnding::Cr => (before, "\r"),
        LineEnding::Mixed => (before.replace("\r\n", "\n").replace('\r', "\n").into(), "\n"),
    };
    assert!(before.is_empty() || before.ends_with(end), "{reject:?} is not where a line begins");
    assert_eq!(line, 1 + before.matches(end).count() as u64, "{reject:?} is on another line");
}

/// Whatever is found out is a dialect, and headers and types of the sample can be told by it.
pub fn detection(data: &[u8]) {
    let Some((&knob, bytes)) = data.split_first() else { return };
    let sample = Sample { bytes, whole: knob & 1 == 0 };
    let options = DialectOptions {
        delimiter: (knob & 2 != 0).then(|| b";".to_vec()),
        header: (knob & 4 != 0).then_some(knob & 8 != 0),
        null_values: vec![String::new()],
        ..DialectOptions::default()
    };
    let columns: &[&str] = if knob & 16 == 0 { &[] } else { &["id", "name"] };
    let detection = detect(sample, &options, columns);
    detection.dialect.check().unwrap();
    assert!((0.0..=1.0).contains(&detection.confidence));
    let _ = read_header(sample, &detection.dialect);
    let mut inference = Inference::new(str::to_lowercase);
    if inference.observe(sample, &detection.dialect).is_ok() {
        let _ = inference.finish();
    }
}

/// Any bytes are an event, or are refused.
pub fn event(data: &[u8]) {
    let _ = lakefeed::event::parse(data);
}

fn dialect(knobs: &[u8; 8]) -> Dialect {
    let of = |knob: u8, choices: &[Option<u8>]| choices[usize::from(knob) % choices.len()];
    let delimiters: [&[u8]; 6] = [b",", b";", b"\t", b"||", b"\x01", b" "];
    let endings = [LineEnding::Lf, LineEnding::Crlf, LineEnding::Cr, LineEnding::Mixed];
    Dialect {
        delimiter: delimiters[usize::from(knobs[0]) % delimiters.len()].to_vec(),
        quote: of(knobs[0] / 6, &[Some(b'"'), Some(b'\''), None]),
        escape: of(knobs[1], &[None, Some(b'\\')]),
        comment: of(knobs[1] / 2, &[None, None, None, Some(b'#')]),
        line_ending: endings[usize::from(knobs[1] / 8) % endings.len()],
        skip_lines: u64::from(knobs[2] % 3),
        header_rows: u32::from(knobs[2] / 3 % 3),
        footer_lines: u64::from(knobs[3] % 3),
        trim: knobs[3] & 64 != 0,
        null_values: vec![String::new(), "\\N".to_owned()],
        ..Dialect::default()
    }
}

fn decode(
    dialect: &Dialect,
    limits: Limits,
    rescue: bool,
    object: &[u8],
    slice_bytes: usize,
) -> (Vec<Decoded>, Option<Error>) {
    let mut decoded = Vec::new();
    let error = decode_into(&mut decoded, dialect, limits, rescue, object, slice_bytes).err();
    (decoded, error)
}

fn decode_into(
    all: &mut Vec<Decoded>,
    dialect: &Dialect,
    limits: Limits,
    rescue: bool,
    object: &[u8],
    slice_bytes: usize,
) -> Result<(), Error> {
    let mut decoder = Decoder::new(plan(rescue), dialect, limits)?;
    for mut slice in object.chunks(slice_bytes.min(object.len().max(1))) {
        while let Some(decoded) = decoder.decode(&mut slice)? {
            all.push(decoded);
        }
    }
    while let Some(decoded) = decoder.finish()? {
        all.push(decoded);
    }
    Ok(())
}

fn plan(rescue: bool) -> DecodePlan {
    let zone = Some("UTC".into());
    let types = [
        DataType::Utf8,
        DataType::Int32,
        DataType::Float64,
        DataType::Decimal128(20, 3),
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, zone),
    ];
    let field = |(i, data_type): (usize, DataType)| Field::new(format!("c{i}"), data_type, true);
    let mut fields: Vec<Field> = types.into_iter().enumerate().map(field).collect();
    let targets = (0..fields.len()).map(Target::Column).collect();
    let rescued = rescue.then_some(fields.len());
    fields.extend(rescued.map(|_| Field::new("_rescued", DataType::Utf8, true)));
    let schema = Arc::new(Schema::new(fields));
    DecodePlan {
        schema,
        fields: targets,
        rescued,
        formats: Vec::new(),
        rules: RowRules { rescue, ..RowRules::default() },
    }
}
