//! An object's text: decompressed, and in UTF-8.

use crate::config::CsvOptions;
use crate::csv::{
    BadBytes, Detection, DialectReport, ENCODING_SAMPLE_BYTES_MAX, EncodingOption, FoundEncoding,
    OFFSETS_BYTES_MAX, OffsetMap, Transcoder, find_encoding,
};
use crate::error::{Error, Position, Result};
use crate::source::{Compression, SourceObject, SourceReader};

/// How much is transcoded at once, but for the sample that an encoding is detected by.
const TRANSCODE_BYTES: usize = 32 << 10;
/// What one object's text may hold beside what its reader does: the sample, its text, of which a byte
/// takes at most three (doubled as it grows), and the places of its lines.
pub(super) const TEXT_BYTES_MAX: u64 = 7 * ENCODING_SAMPLE_BYTES_MAX as u64 + OFFSETS_BYTES_MAX;

/// Reads the text of one object. What is UTF-8 already goes through untouched.
pub(super) struct TextReader {
    source: SourceReader,
    option: EncodingOption,
    bad_bytes: BadBytes,
    found: Option<FoundEncoding>,
    transcoder: Option<Transcoder>,
    /// Text that is still to be given: what is in `waiting` after `given` bytes.
    waiting: Vec<u8>,
    given: usize,
    /// Bytes of the object, before they are transcoded.
    original: Vec<u8>,
    at_end: bool,
}

impl TextReader {
    /// Opens exactly this version of an object, as the feed's options say that it is written.
    pub fn open(object: &SourceObject, options: &CsvOptions) -> Self {
        Self {
            source: object.open(options.decompress_options()),
            option: options.encoding,
            bad_bytes: options.bad_bytes,
            found: None,
            transcoder: None,
            waiting: Vec::new(),
            given: 0,
            original: Vec::new(),
            at_end: false,
        }
    }

    /// Fills `buffer` from the text; 0 at its end.
    ///
    /// # Errors
    /// Those of [`SourceReader::read`] and [`find_encoding`].
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.found.is_none() {
            self.begin().await?;
        }
        loop {
            let waiting = &self.waiting[self.given..];
            if !waiting.is_empty() {
                let bytes = waiting.len().min(buffer.len());
                buffer[..bytes].copy_from_slice(&waiting[..bytes]);
                self.given += bytes;
                return Ok(bytes);
            }
            if self.at_end {
                return Ok(0);
            }
            let Some(transcoder) = &mut self.transcoder else {
                return self.source.read(buffer).await;
            };
            self.original.resize(TRANSCODE_BYTES, 0);
            let read = self.source.read(&mut self.original).await?;
            self.at_end = read == 0;
            self.waiting.clear();
            self.given = 0;
            transcoder.transcode(&self.original[..read], self.at_end, &mut self.waiting);
        }
    }

    /// Finds out the encoding by the object's first bytes.
    async fn begin(&mut self) -> Result<()> {
        let mut sample = vec![0; self.option.sample_bytes()];
        let mut filled = 0;
        while filled < sample.len() && !self.at_end {
            let read = self.source.read(&mut sample[filled..]).await?;
            self.at_end = read == 0;
            filled += read;
        }
        sample.truncate(filled);
        let found = find_encoding(&sample, self.at_end, self.option)?;
        self.transcoder = Transcoder::new(&found, self.bad_bytes);
        match &mut self.transcoder {
            Some(transcoder) => transcoder.transcode(&sample, self.at_end, &mut self.waiting),
            None => self.waiting = sample,
        }
        self.found = Some(found);
        Ok(())
    }

    /// How the object is written down, once something was read.
    pub fn report(&self, detection: &Detection) -> DialectReport {
        let encoding = self.encoding().map(|found| found.encoding.name());
        let compression = self.compression().map(Compression::name);
        DialectReport {
            encoding: encoding.filter(|name| *name != "UTF-8").map(str::to_owned),
            compression: compression.filter(|name| *name != "plain").map(str::to_owned),
            ..DialectReport::from(detection)
        }
    }

    /// The encoding, once something was read.
    pub fn encoding(&self) -> Option<FoundEncoding> {
        self.found
    }

    /// How the object is compressed, once something was read.
    pub fn compression(&self) -> Option<Compression> {
        self.source.compression()
    }

    /// Where in the object the text's lines are; nothing for a text that is the object.
    pub fn offsets(&self) -> Option<OffsetMap> {
        self.transcoder.as_ref().map(Transcoder::offsets)
    }

    /// Says of an error with a place whether that is a place in decompressed text.
    pub fn tell(&self, error: Error) -> Error {
        let compression = self.compression().unwrap_or(Compression::None);
        match compression == Compression::None || error.position().is_none() {
            true => error,
            false => error.in_decompressed_text(),
        }
    }

    /// An error of a place in the text, of a line that no decoder was given yet, as one of a place in
    /// the object.
    pub fn locate(&self, error: Error) -> Error {
        match error.position().cloned() {
            Some(position) => error.with_position(self.located(position)),
            None => error,
        }
    }

    /// A place in the text, of a line that no decoder was given yet, as one in the object.
    pub fn located(&self, position: Position) -> Position {
        let byte = self.offsets().map(|offsets| offsets.original_of(position.byte));
        Position { byte: byte.unwrap_or(position.byte), ..position }
    }

    /// Bytes read so far, as stored.
    pub fn bytes_read(&self) -> u64 {
        self.source.bytes_read()
    }

    /// The xxh3 of the bytes read so far, as stored: of the whole object, after its end.
    pub fn content_hash(&self) -> u64 {
        self.source.content_hash()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use object_store::ObjectStoreExt;

    use super::*;
    use crate::csv::{DecodePlan, Decoder, Dialect, EncodingEvidence, Limits, Target};
    use crate::error::ErrorKind;
    use crate::store::Stores;

    async fn reader(bytes: Vec<u8>, options: &[(&str, &str)]) -> TextReader {
        let location = Stores::new(PathBuf::from("/")).resolve("memory:///in/a.csv").unwrap();
        location.store.put(&location.path, bytes.into()).await.unwrap();
        let mut csv = CsvOptions::default();
        options.iter().for_each(|(key, value)| csv.set(key, value).unwrap());
        TextReader::open(&SourceObject::head(&location).await.unwrap(), &csv)
    }

    async fn read(reader: &mut TextReader) -> Result<Vec<u8>> {
        let (mut text, mut buffer) = (Vec::new(), [0; 1000]);
        loop {
            match reader.read(&mut buffer).await? {
                0 => return Ok(text),
                bytes => text.extend_from_slice(&buffer[..bytes]),
            }
        }
    }

    #[tokio::test]
    async fn text_comes_as_utf_8_whatever_it_was_stored_as() {
        let text = "id,name\r\n1,Zoë\r\n2,Жанна\r\n".repeat(5000);
        let utf_16 = "\u{FEFF}".encode_utf16().chain(text.encode_utf16());
        let utf_16: Vec<u8> = utf_16.flat_map(u16::to_be_bytes).collect();
        let gb18030 = encoding_rs::GB18030.encode(&text).0.into_owned();
        for (bytes, option, expected) in [
            (text.clone().into_bytes(), "auto", ("UTF-8", EncodingEvidence::Default)),
            (text.clone().into_bytes(), "detect", ("UTF-8", EncodingEvidence::Detected)),
            (utf_16, "auto", ("UTF-16BE", EncodingEvidence::Mark)),
            (gb18030, "gb18030", ("gb18030", EncodingEvidence::Configured)),
        ] {
            let mut reader = reader(bytes, &[("encoding", option)]).await;
            assert_eq!(reader.encoding(), None);
            assert!(read(&mut reader).await.unwrap() == text.as_bytes(), "{option}");
            let found = reader.encoding().unwrap();
            assert_eq!((found.encoding.name(), found.evidence), expected);
        }
        let mut utf_32 = reader(b"\xFF\xFE\0\0a\0\0\0".to_vec(), &[]).await;
        assert_eq!(read(&mut utf_32).await.unwrap_err().kind(), ErrorKind::SourceInvalid);
    }

    #[tokio::test]
    async fn a_place_in_a_compressed_object_says_that_it_is_one() {
        let bytes = include_bytes!("../../tests/data/compressed/bzip2.csv.bz2").to_vec();
        for (stored, expected) in [(b"id\n1\n".to_vec(), false), (bytes, true)] {
            let mut reader = reader(stored, &[]).await;
            read(&mut reader).await.unwrap();
            let error = |error: Error| reader.tell(error).is_in_decompressed_text();
            let bad = || Error::new(ErrorKind::SourceInvalid, "bad");
            assert_eq!(error(bad().with_position(Position::default())), expected);
            assert!(!error(bad()));
        }
    }

    #[tokio::test]
    async fn a_bad_row_is_where_it_is_in_the_object() {
        let text = "é\n".repeat(100_000) + "ä,ö\nß\n";
        let bytes: Vec<u8> = encoding_rs::WINDOWS_1252.encode(&text).0.into_owned();
        let mut reader = reader(bytes, &[("encoding", "latin1")]).await;
        let mut buffer = vec![0; 4096];
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true)]));
        let plan = DecodePlan {
            schema,
            fields: vec![Target::Column(0)],
            rescued: None,
            formats: Vec::new(),
            rules: crate::csv::RowRules::default(),
        };
        let dialect = Dialect { header_rows: 0, ..Dialect::default() };
        let mut filled = reader.read(&mut buffer).await.unwrap();
        let mut decoder =
            Decoder::new(plan, &dialect, Limits::default()).unwrap().with_offsets(reader.offsets());
        let mut rejects = Vec::new();
        while filled > 0 {
            let mut slice = &buffer[..filled];
            while let Some(decoded) = decoder.decode(&mut slice).unwrap() {
                rejects.extend(decoded.rejects);
            }
            filled = reader.read(&mut buffer).await.unwrap();
        }
        while let Some(decoded) = decoder.finish().unwrap() {
            rejects.extend(decoded.rejects);
        }
        assert_eq!(rejects.len(), 1);
        assert_eq!(
            rejects[0].complaint.position,
            Position { line: 100_001, byte: 200_000, column: None }
        );
    }
}
