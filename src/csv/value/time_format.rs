//! Dates and timestamps in forms that the user gives.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::format::{Fixed, Item, Numeric, Parsed, StrftimeItems, parse_and_remainder};
use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, NaiveTime, Timelike};

use super::decimal;
use super::time::{self, MICROS_PER_SECOND, SECONDS_PER_DAY};
use crate::error::{Error, ErrorKind, Result};

/// What a table can hold: from the year 1 until the year 10000, in microseconds.
const MICROS_MIN: i64 = -62_135_596_800 * MICROS_PER_SECOND;
const MICROS_END: i64 = 253_402_300_800 * MICROS_PER_SECOND;

/// The years that a table can hold.
const YEARS: RangeInclusive<i32> = 1..=9999;

/// A moment that says all that a format can.
const EXAMPLE: &str = "2003-02-01T13:45:56.123456+01:00";

/// How a date or a timestamp is written: `iso`, the name of an epoch's unit, or a pattern such as
/// `%d.%m.%Y %H:%M`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeFormat {
    text: String,
    kind: Kind,
    has_time: bool,
    has_offset: bool,
    is_count: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// The forms of ISO 8601 that [`super::date`] and [`super::timestamp`] read.
    Iso,
    /// Since 1970, in units of which a second has this power of ten.
    Epoch(u8),
    Pattern(Vec<Piece>),
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    item: Item<'static>,
    /// How many characters it has to have, where fewer or more would be misread: a year of two digits
    /// for one of the first century, `2024022` for the 2nd of February.
    length: Option<usize>,
}

impl TimeFormat {
    /// The forms of ISO 8601.
    pub fn iso() -> Self {
        let text = "iso".to_owned();
        Self { text, kind: Kind::Iso, has_time: false, has_offset: false, is_count: false }
    }

    /// Whether it is [`TimeFormat::iso`].
    pub fn is_iso(&self) -> bool {
        self.kind == Kind::Iso
    }

    /// Whether it says the time of the day. The forms of ISO 8601 need not.
    pub fn has_time(&self) -> bool {
        self.has_time
    }

    /// Whether it says an offset from UTC.
    pub fn has_offset(&self) -> bool {
        self.has_offset
    }

    /// Whether it says a moment whatever the place: by an offset, or as a count since 1970 in UTC.
    pub fn is_instant(&self) -> bool {
        self.has_offset || self.is_count
    }

    /// Days since 1970. A time of the day must be midnight.
    pub(crate) fn date(&self, text: &[u8]) -> Option<i32> {
        if self.is_iso() {
            return time::date(text);
        }
        if self.is_instant() {
            return None;
        }
        let (micros, _) = self.timestamp(text)?;
        let day = SECONDS_PER_DAY * MICROS_PER_SECOND;
        if micros % day == 0 { i32::try_from(micros / day).ok() } else { None }
    }

    /// Microseconds since 1970, and whether the text says its offset from UTC. A count since 1970 says
    /// none, and is in UTC.
    pub(crate) fn timestamp(&self, text: &[u8]) -> Option<(i64, bool)> {
        match &self.kind {
            Kind::Iso => time::timestamp(text),
            Kind::Epoch(power) => Some((since_epoch(text, *power)?, false)),
            Kind::Pattern(pieces) => moment(&parsed(text, pieces)?),
        }
    }

    fn epoch(text: &str, power: u8) -> Self {
        let (text, kind) = (text.to_owned(), Kind::Epoch(power));
        Self { text, kind, has_time: true, has_offset: false, is_count: true }
    }

    /// A format that understands what it writes itself.
    fn pattern(text: &str) -> Option<Self> {
        let items = StrftimeItems::new(text).parse_to_owned().ok()?;
        // The name of a time zone would be skipped.
        if items.contains(&Item::Fixed(Fixed::TimezoneName)) {
            return None;
        }
        let example = DateTime::<FixedOffset>::parse_from_rfc3339(EXAMPLE).ok()?;
        let written = example.format_with_items(items.iter()).to_string();
        let pieces = pieces(items);
        let parsed = parsed(written.as_bytes(), &pieces)?;
        moment(&parsed)?;
        Some(Self {
            text: text.to_owned(),
            kind: Kind::Pattern(pieces),
            has_time: has_time(&parsed),
            has_offset: parsed.offset().is_some(),
            is_count: parsed.timestamp().is_some(),
        })
    }
}

/// The pieces of a pattern. Numbers that nothing separates have all their digits.
fn pieces(items: Vec<Item<'static>>) -> Vec<Piece> {
    let is_number = |item: Option<&Item<'_>>| matches!(item, Some(Item::Numeric(..)));
    let length = |i: usize| match &items[i] {
        Item::Numeric(Numeric::Year | Numeric::IsoYear, _) => Some(4),
        Item::Numeric(number, _) => {
            let is_joined = (i > 0 && is_number(items.get(i - 1))) || is_number(items.get(i + 1));
            is_joined.then(|| digits_of(number)).flatten()
        }
        _ => None,
    };
    let lengths: Vec<_> = (0..items.len()).map(length).collect();
    items.into_iter().zip(lengths).map(|(item, length)| Piece { item, length }).collect()
}

/// How many digits a number has at most; none: as many as it likes.
fn digits_of(number: &Numeric) -> Option<usize> {
    match number {
        Numeric::Year | Numeric::IsoYear => Some(4),
        Numeric::Quarter | Numeric::NumDaysFromSun | Numeric::WeekdayFromMon => Some(1),
        Numeric::Ordinal => Some(3),
        Numeric::Nanosecond => Some(9),
        Numeric::Timestamp => None,
        _ => Some(2),
    }
}

fn parsed(text: &[u8], pieces: &[Piece]) -> Option<Parsed> {
    let mut parsed = Parsed::new();
    let mut rest = std::str::from_utf8(text).ok()?;
    for Piece { item, length } in pieces {
        let before = rest.len();
        rest = parse_and_remainder(&mut parsed, rest, std::iter::once(item)).ok()?;
        if length.is_some_and(|length| before - rest.len() != length) {
            return None;
        }
    }
    rest.is_empty().then_some(parsed)
}

fn has_time(parsed: &Parsed) -> bool {
    let parts = [
        parsed.hour_div_12(),
        parsed.hour_mod_12(),
        parsed.minute(),
        parsed.second(),
        parsed.nanosecond(),
    ];
    parsed.timestamp().is_some() || parts.iter().any(Option::is_some)
}

fn moment(parsed: &Parsed) -> Option<(i64, bool)> {
    let offset = parsed.offset();
    let local: NaiveDateTime = match has_time(parsed) {
        true => parsed.to_naive_datetime_with_offset(offset.unwrap_or(0)).ok()?,
        false => parsed.to_naive_date().ok()?.and_time(NaiveTime::MIN),
    };
    // A leap second has a second's nanoseconds and more.
    let nanos = local.nanosecond();
    if nanos >= 1_000_000_000 || !nanos.is_multiple_of(1000) {
        return None;
    }
    if !YEARS.contains(&local.year()) {
        return None;
    }
    let offset_micros = i64::from(offset.unwrap_or(0)) * MICROS_PER_SECOND;
    Some((local.and_utc().timestamp_micros() - offset_micros, offset.is_some()))
}

/// Microseconds since 1970, where `text` counts units of which a second has `10^power`. A fraction, or
/// a finer unit, must come to whole microseconds.
fn since_epoch(text: &[u8], power: u8) -> Option<i64> {
    let units = decimal(text.into(), 38, 6_u8.saturating_sub(power))?;
    let excess = 10_i128.pow(u32::from(power.saturating_sub(6)));
    let micros = i64::try_from(units / excess).ok()?;
    (units % excess == 0 && (MICROS_MIN..MICROS_END).contains(&micros)).then_some(micros)
}

impl FromStr for TimeFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: &str, advice: &str| {
            Error::new(ErrorKind::Configuration, format!("{text:?} {what}")).with_advice(advice)
        };
        match text {
            "iso" => Ok(Self::iso()),
            "epoch_s" => Ok(Self::epoch(text, 0)),
            "epoch_ms" => Ok(Self::epoch(text, 3)),
            "epoch_us" => Ok(Self::epoch(text, 6)),
            "epoch_ns" => Ok(Self::epoch(text, 9)),
            _ if !text.contains('%') => Err(wrong(
                "is not a format of dates",
                "write iso, epoch_s, epoch_ms, epoch_us, epoch_ns, or a pattern such as %d.%m.%Y",
            )),
            _ => Self::pattern(text).ok_or_else(|| {
                wrong(
                    "is not a pattern from which a whole date can be read",
                    "it needs year, month and day, as %d.%m.%Y; a time is %H:%M:%S%.f, an offset %z; names \
                     of time zones (%Z) cannot be read",
                )
            }),
        }
    }
}

impl fmt::Display for TimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(text: &str) -> TimeFormat {
        text.parse().unwrap()
    }

    #[test]
    fn dates_by_patterns() {
        let leap_day = Some(19_782); // 2024-02-29
        for (pattern, text, expected) in [
            ("%d.%m.%Y", "29.02.2024", leap_day),
            ("%d.%m.%Y", "29.2.2024", leap_day),
            ("%d.%m.%Y", "29.02.2023", None),
            ("%d.%m.%Y", "29.02.24", None),
            ("%d.%m.%Y", "29.02.2024 ", None),
            ("%d.%m.%Y", "29.02.20245", None),
            ("%d.%m.%Y", "29.02.+2024", None),
            ("%d.%m.%Y", "29.02. 2024", None),
            ("%d.%m.%Y", "29.02.-2024", None),
            ("%d.%m.%Y", "29.02.+12024", None),
            ("%d.%m.%Y", "29/02/2024", None),
            ("%d.%m.%y", "29.02.24", leap_day),
            ("%d.%m.%y", "01.01.70", Some(0)),
            ("%d.%m.%y", "29.02.2024", None),
            ("%m/%d/%Y", "02/29/2024", leap_day),
            ("%m/%d/%Y", "29/02/2024", None),
            ("%Y%m%d", "20240229", leap_day),
            ("%Y%m%d", "2024022", None),
            ("%Y%m%d", "202402 9", Some(19_762)),
            ("%d%m%y", "290224", leap_day),
            ("%d%m%y", "29224", None),
            ("%d%b%Y", "29Feb2024", leap_day),
            ("%d-%b-%Y", "29-Feb-2024", leap_day),
            ("%d %B %Y", "29 february 2024", leap_day),
            ("%A, %d %B %Y", "Thursday, 29 February 2024", leap_day),
            ("%A, %d %B %Y", "Friday, 29 February 2024", None),
            ("%Y-%j", "2024-060", leap_day),
            ("%d.%m.%Y %H:%M", "29.02.2024 00:00", leap_day),
            ("%d.%m.%Y %H:%M", "29.02.2024 00:01", None),
            ("%Y年%m月%d日", "2024年02月29日", leap_day),
            ("%d.%m.%Y", "01.01.0001", Some(-719_162)),
            ("%d.%m.%Y", "31.12.0000", None),
            ("%d.%m.%Y", "31.12.9999", Some(2_932_896)),
            ("iso", "2024-02-29", leap_day),
            ("iso", "29.02.2024", None),
            ("epoch_s", "0", None),
        ] {
            assert_eq!(format(pattern).date(text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn timestamps_by_patterns() {
        let noon = 1_709_208_000_000_000; // 2024-02-29T12:00:00Z
        for (pattern, text, expected) in [
            ("%d.%m.%Y %H:%M", "29.02.2024 12:00", Some((noon, false))),
            ("%d.%m.%Y", "29.02.2024", Some((noon - 43_200_000_000, false))),
            ("%m/%d/%Y %I:%M:%S %p", "02/29/2024 12:00:00 PM", Some((noon, false))),
            ("%m/%d/%Y %I:%M %p", "02/29/2024 11:60 AM", None),
            ("%d.%m.%Y %H:%M:%S%.f", "29.02.2024 12:00:00.000001", Some((noon + 1, false))),
            ("%d.%m.%Y %H:%M:%S%.f", "29.02.2024 12:00:00", Some((noon, false))),
            ("%d.%m.%Y %H:%M:%S%.f", "29.02.2024 12:00:00.000001000", Some((noon + 1, false))),
            ("%d.%m.%Y %H:%M:%S%.f", "29.02.2024 12:00:00.0000001", None),
            ("%d.%m.%Y %H:%M:%S", "29.02.2024 12:00:60", None),
            ("%d.%m.%Y %H:%M", "29.02.2024 24:00", None),
            ("%d/%b/%Y:%H:%M:%S %z", "29/Feb/2024:13:00:00 +0100", Some((noon, true))),
            ("%d/%b/%Y:%H:%M:%S %z", "29/Feb/2024:12:00:00", None),
            ("%Y-%m-%dT%H:%M:%S%:z", "2024-02-29T14:30:00+02:30", Some((noon, true))),
            ("%Y%m%d%H%M%S", "20240229120000", Some((noon, false))),
            ("%Y%m%d%H%M%S", "2024022912000", None),
            ("%Y%m%d%H%M%S%.f", "20240229120000.1", Some((noon + 100_000, false))),
            ("%Y%m%d%H%M%S%3f", "20240229120000001", Some((noon + 1000, false))),
            ("%s", "1709208000", Some((noon, false))),
            ("iso", "2024-02-29T12:00:00Z", Some((noon, true))),
        ] {
            assert_eq!(format(pattern).timestamp(text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn time_since_the_epoch() {
        for (unit, text, expected) in [
            ("epoch_s", "0", Some(0)),
            ("epoch_s", "-1", Some(-1_000_000)),
            ("epoch_s", "1709208000", Some(1_709_208_000_000_000)),
            ("epoch_s", "1709208000.000001", Some(1_709_208_000_000_001)),
            ("epoch_s", "1.709208E9", Some(1_709_208_000_000_000)),
            ("epoch_s", "1709208000.0000001", None),
            ("epoch_s", "-62135596800", Some(MICROS_MIN)),
            ("epoch_s", "-62135596801", None),
            ("epoch_s", "253402300799.999999", Some(MICROS_END - 1)),
            ("epoch_s", "253402300800", None),
            // Milliseconds taken for seconds.
            ("epoch_s", "1709208000000", None),
            ("epoch_ms", "1709208000000", Some(1_709_208_000_000_000)),
            ("epoch_ms", "1709208000000.5", Some(1_709_208_000_000_500)),
            ("epoch_us", "1709208000000001", Some(1_709_208_000_000_001)),
            ("epoch_us", "1709208000000001.5", None),
            ("epoch_ns", "1709208000000001000", Some(1_709_208_000_000_001)),
            ("epoch_ns", "1709208000000001001", None),
            ("epoch_ns", "1709208000000001000.0", Some(1_709_208_000_000_001)),
            ("epoch_ns", "1000.5", None),
            ("epoch_ns", "9223372036854775808", None),
            ("epoch_ms", "", None),
            ("epoch_ms", "2024-02-29", None),
        ] {
            let micros = format(unit).timestamp(text.as_bytes()).map(|(micros, _)| micros);
            assert_eq!(micros, expected, "{unit} {text}");
        }
    }

    #[test]
    fn a_format_says_what_it_holds() {
        let holds = |text: &str| {
            let format = format(text);
            (format.has_time(), format.has_offset(), format.is_instant())
        };
        assert_eq!(holds("%d.%m.%Y"), (false, false, false));
        assert_eq!(holds("%d.%m.%Y %H:%M"), (true, false, false));
        assert_eq!(holds("%d.%m.%Y %H:%M %z"), (true, true, true));
        assert_eq!(holds("%s"), (true, false, true));
        assert_eq!(holds("epoch_ms"), (true, false, true));
    }

    #[test]
    fn a_format_that_does_not_say_the_day_is_refused() {
        for text in [
            "",
            "ISO",
            "dd.MM.yyyy",
            "%d.%m",
            "%H:%M",
            "%d.%m.%Y %M",
            "%d.%m.%Y %I:%M",
            "%Y-%m-%d %",
            "%Y-%m-%d %Q!",
            "%Y-%m-%d %H:%M %Z",
            "%Y-%m-%d %H",
        ] {
            let error = text.parse::<TimeFormat>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{text}");
            assert!(error.advice().is_some());
        }
    }
}
