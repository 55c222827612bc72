//! How points lie in a blob.
//!
//! A **raw block** holds the points of one batch as they came: each is the difference to the
//! previous series id, the difference to the previous time, and a value. A **chunk** holds points
//! of one series in order of time: by how much the step in time differs from the one before, and a
//! value that may lean on the one before. A **segment** holds chunks of one bucket, which is sixteen
//! series with ids next to each other: each chunk behind its series' place in the bucket and its
//! length. Blocks and segments start with a format byte. Numbers are LEB128, signed ones in zigzag. A value is a
//! mark and what the mark asks for; a float with at most four decimals is kept as a whole number
//! and its scale, wherever that gives back the same bits.

use crate::hub::scalar::Scalar;

/// The first byte of every blob.
const FORMAT: u8 = 1;

/// A blob that does not read back: written by something else, or damaged on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

mod mark {
    pub(super) const GAP: u8 = 0;
    pub(super) const FALSE: u8 = 1;
    pub(super) const TRUE: u8 = 2;
    pub(super) const SIGNED: u8 = 3;
    pub(super) const UNSIGNED: u8 = 4;
    pub(super) const FLOAT: u8 = 5;
    pub(super) const TEXT: u8 = 6;
    /// `DECIMAL + n`: a whole number divided by 10^n, n from 0 to 4.
    pub(super) const DECIMAL: u8 = 7;
    pub(super) const DECIMAL_END: u8 = 11;
    /// In chunks: the difference to the previous signed number.
    pub(super) const STEP: u8 = 12;
    /// In chunks: the previous value once more.
    pub(super) const SAME: u8 = 13;
}

/// Bytes of a raw block's buffer that are kept for the next one.
const KEPT: usize = 32 << 10;

const TENS: [f64; 5] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];

/// Writes a raw block.
#[derive(Default)]
pub(crate) struct RawBlock {
    bytes: Vec<u8>,
    points: usize,
    series: i64,
    ms: i64,
}

impl RawBlock {
    pub(crate) fn push(&mut self, series: i64, ms: i64, value: Scalar<'_>) {
        if self.bytes.is_empty() {
            self.bytes.push(FORMAT);
        }
        put_signed(&mut self.bytes, series.wrapping_sub(self.series));
        put_signed(&mut self.bytes, ms.wrapping_sub(self.ms));
        put_value(&mut self.bytes, value);
        self.series = series;
        self.ms = ms;
        self.points += 1;
    }

    pub(crate) fn points(&self) -> usize {
        self.points
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives back the memory that a large batch took.
    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to(KEPT);
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.points = 0;
        self.series = 0;
        self.ms = 0;
    }
}

/// Calls `each` with series, time and value of every point of a raw block.
pub(crate) fn read_raw<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut(i64, i64, Scalar<'a>),
) -> Result<(), Damaged> {
    let mut at = Cursor::open(bytes)?;
    let (mut series, mut ms) = (0_i64, 0_i64);
    while !at.0.is_empty() {
        series = series.wrapping_add(at.signed()?);
        ms = ms.wrapping_add(at.signed()?);
        let mark = at.byte()?;
        each(series, ms, at.value(mark)?);
    }
    Ok(())
}

/// Calls `each` with series, time and the offset at which the value begins, of every point of a raw
/// block. [`value_at`] reads the value.
pub(crate) fn read_raw_at(
    bytes: &[u8],
    mut each: impl FnMut(i64, i64, usize),
) -> Result<(), Damaged> {
    let mut at = Cursor::open(bytes)?;
    let (mut series, mut ms) = (0_i64, 0_i64);
    while !at.0.is_empty() {
        series = series.wrapping_add(at.signed()?);
        ms = ms.wrapping_add(at.signed()?);
        let offset = bytes.len() - at.0.len();
        let mark = at.byte()?;
        at.skip_value(mark)?;
        each(series, ms, offset);
    }
    Ok(())
}

/// The value that begins at an offset.
pub(crate) fn value_at(bytes: &[u8], offset: usize) -> Result<Scalar<'_>, Damaged> {
    let mut at = Cursor(bytes.get(offset..).ok_or(Damaged)?);
    let mark = at.byte()?;
    at.value(mark)
}

/// The bucket of a series, and its place in there.
pub(crate) const fn bucket(series: i64) -> (i64, u64) {
    (series >> 4, (series & 15) as u64)
}

/// Writes a segment.
#[derive(Default)]
pub(crate) struct Segment {
    bytes: Vec<u8>,
    chunk: Vec<u8>,
}

impl Segment {
    /// Adds points of the series at `place` in the bucket, in order of time.
    pub(crate) fn push<'a>(
        &mut self,
        place: u64,
        points: impl IntoIterator<Item = (i64, Scalar<'a>)>,
    ) {
        if self.bytes.is_empty() {
            self.bytes.push(FORMAT);
        }
        self.chunk.clear();
        write_chunk(&mut self.chunk, points);
        put_unsigned(&mut self.bytes, place);
        put_unsigned(&mut self.bytes, self.chunk.len() as u64);
        self.bytes.extend_from_slice(&self.chunk);
    }

    /// Adds the chunks of another segment that are at places to keep.
    pub(crate) fn copy(&mut self, bytes: &[u8], keep: impl Fn(u64) -> bool) -> Result<(), Damaged> {
        if self.bytes.is_empty() {
            self.bytes.push(FORMAT);
        }
        let mut at = Cursor::open(bytes)?;
        while !at.0.is_empty() {
            let place = at.unsigned()?;
            let length = usize::try_from(at.unsigned()?).map_err(|_| Damaged)?;
            let chunk = at.take(length)?;
            if keep(place) {
                put_unsigned(&mut self.bytes, place);
                put_unsigned(&mut self.bytes, length as u64);
                self.bytes.extend_from_slice(chunk);
            }
        }
        Ok(())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// Calls `each` with place, time and value of every point of a segment, at places that are
/// `wanted`.
pub(crate) fn read_segment<'a>(
    bytes: &'a [u8],
    wanted: impl Fn(u64) -> bool,
    mut each: impl FnMut(u64, i64, Scalar<'a>),
) -> Result<(), Damaged> {
    let mut at = Cursor::open(bytes)?;
    while !at.0.is_empty() {
        let place = at.unsigned()?;
        let length = usize::try_from(at.unsigned()?).map_err(|_| Damaged)?;
        let chunk = at.take(length)?;
        if wanted(place) {
            read_chunk(chunk, |ms, value| each(place, ms, value))?;
        }
    }
    Ok(())
}

fn write_chunk<'a>(bytes: &mut Vec<u8>, points: impl IntoIterator<Item = (i64, Scalar<'a>)>) {
    let (mut last_ms, mut last_step, mut last) = (0_i64, 0_i64, None);
    for (ms, value) in points {
        let step = ms.wrapping_sub(last_ms);
        put_signed(bytes, step.wrapping_sub(last_step));
        match (last, value) {
            (Some(before), now) if same(before, now) => bytes.push(mark::SAME),
            (Some(Scalar::Signed(before)), Scalar::Signed(now)) => {
                bytes.push(mark::STEP);
                put_signed(bytes, now.wrapping_sub(before));
            }
            _ => put_value(bytes, value),
        }
        (last_ms, last_step) = (ms, step);
        last = Some(value);
    }
}

/// Calls `each` with time and value of every point of a chunk.
fn read_chunk<'a>(bytes: &'a [u8], mut each: impl FnMut(i64, Scalar<'a>)) -> Result<(), Damaged> {
    let mut at = Cursor(bytes);
    let (mut ms, mut step, mut last) = (0_i64, 0_i64, None);
    while !at.0.is_empty() {
        step = step.wrapping_add(at.signed()?);
        ms = ms.wrapping_add(step);
        let value = match (at.byte()?, last) {
            (mark::SAME, Some(before)) => before,
            (mark::STEP, Some(Scalar::Signed(before))) => {
                Scalar::Signed(before.wrapping_add(at.signed()?))
            }
            (mark, _) => at.value(mark)?,
        };
        each(ms, value);
        last = Some(value);
    }
    Ok(())
}

/// Equality of bits: 0.0 and −0.0 differ.
fn same(a: Scalar<'_>, b: Scalar<'_>) -> bool {
    match (a, b) {
        (Scalar::Float(a), Scalar::Float(b)) => a.to_bits() == b.to_bits(),
        _ => a == b,
    }
}

fn put_value(bytes: &mut Vec<u8>, value: Scalar<'_>) {
    match value {
        Scalar::Gap => bytes.push(mark::GAP),
        Scalar::Boolean(false) => bytes.push(mark::FALSE),
        Scalar::Boolean(true) => bytes.push(mark::TRUE),
        Scalar::Signed(n) => {
            bytes.push(mark::SIGNED);
            put_signed(bytes, n);
        }
        Scalar::Unsigned(n) => {
            bytes.push(mark::UNSIGNED);
            put_unsigned(bytes, n);
        }
        Scalar::Float(x) => put_float(bytes, x),
        Scalar::Text(t) => {
            bytes.push(mark::TEXT);
            put_unsigned(bytes, t.len() as u64);
            bytes.extend_from_slice(t.as_bytes());
        }
    }
}

fn put_float(bytes: &mut Vec<u8>, x: f64) {
    // What four decimals cannot say, fewer cannot either, but for numbers too large for four.
    let mut scale = if x.abs() > 1e11 { 0 } else { 4 };
    let scaled = x * TENS[scale];
    // As `round`, which would be a call.
    let mut whole = (scaled + 0.5_f64.copysign(scaled)) as i64;
    let same = (whole as f64 / TENS[scale]).to_bits() == x.to_bits();
    if !same || whole.unsigned_abs() >= 1 << 53 {
        bytes.push(mark::FLOAT);
        bytes.extend_from_slice(&x.to_le_bytes());
        return;
    }
    while scale > 0 && whole % 10 == 0 {
        whole /= 10;
        scale -= 1;
    }
    bytes.push(mark::DECIMAL + scale as u8);
    put_signed(bytes, whole);
}

fn put_signed(bytes: &mut Vec<u8>, n: i64) {
    put_unsigned(bytes, ((n << 1) ^ (n >> 63)) as u64);
}

fn put_unsigned(bytes: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, Damaged> {
        match bytes.split_first() {
            Some((&FORMAT, rest)) => Ok(Self(rest)),
            _ => Err(Damaged),
        }
    }

    fn byte(&mut self) -> Result<u8, Damaged> {
        let (&first, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(first)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn unsigned(&mut self) -> Result<u64, Damaged> {
        let (mut n, mut shift) = (0_u64, 0);
        loop {
            let byte = self.byte()?;
            if shift > 63 {
                return Err(Damaged);
            }
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
            shift += 7;
        }
    }

    fn signed(&mut self) -> Result<i64, Damaged> {
        let n = self.unsigned()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// Goes over a value. It is one that [`Cursor::value`] reads, where that is not cheaply known
    /// otherwise.
    fn skip_value(&mut self, mark: u8) -> Result<(), Damaged> {
        match mark {
            mark::GAP | mark::FALSE | mark::TRUE => Ok(()),
            mark::SIGNED | mark::UNSIGNED | mark::DECIMAL..=mark::DECIMAL_END => {
                self.unsigned().map(drop)
            }
            mark::FLOAT => self.take(8).map(drop),
            _ => self.value(mark).map(drop),
        }
    }

    fn value(&mut self, mark: u8) -> Result<Scalar<'a>, Damaged> {
        Ok(match mark {
            mark::GAP => Scalar::Gap,
            mark::FALSE => Scalar::Boolean(false),
            mark::TRUE => Scalar::Boolean(true),
            mark::SIGNED => Scalar::Signed(self.signed()?),
            mark::UNSIGNED => Scalar::Unsigned(self.unsigned()?),
            mark::FLOAT => {
                let bytes = self.take(8)?.try_into().map_err(|_| Damaged)?;
                Scalar::Float(f64::from_le_bytes(bytes))
            }
            mark::TEXT => {
                let length = usize::try_from(self.unsigned()?).map_err(|_| Damaged)?;
                let text = std::str::from_utf8(self.take(length)?).map_err(|_| Damaged)?;
                Scalar::Text(text)
            }
            mark::DECIMAL..=mark::DECIMAL_END => {
                let scale = usize::from(mark - mark::DECIMAL);
                Scalar::Float(self.signed()? as f64 / TENS[scale])
            }
            _ => return Err(Damaged),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Value;

    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Gap),
            any::<bool>().prop_map(Value::Boolean),
            any::<i64>().prop_map(Value::Signed),
            ((i64::MAX as u64 + 1)..).prop_map(Value::Unsigned),
            any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Value::Float),
            (-1_000_000_i64..1_000_000, 0_usize..6)
                .prop_map(|(n, scale)| Value::Float(n as f64 / 10_f64.powi(scale as i32))),
            ".{0,20}".prop_map(|t| Value::Text(t.into())),
        ]
    }

    fn bits(value: &Value) -> (String, u64) {
        (format!("{value:?}"), if let Value::Float(x) = value { x.to_bits() } else { 0 })
    }

    #[test]
    fn a_float_takes_no_more_room_than_its_decimals_need() {
        let length = |x: f64| {
            let mut bytes = Vec::new();
            put_float(&mut bytes, x);
            assert_eq!(Cursor(&bytes[1..]).value(bytes[0]), Ok(Scalar::Float(x)));
            (bytes[0], bytes.len())
        };
        for (x, decimals, long) in [
            (0.0, 0, 2),
            (7.0, 0, 2),
            (-0.5, 1, 2),
            (0.012, 3, 2),
            (0.0004, 4, 2),
            (1234.5, 1, 4),
            (1e15, 0, 9),
            (99_999_999_999.999_9, 4, 9),
        ] {
            assert_eq!(length(x), (mark::DECIMAL + decimals, long), "{x}");
        }
        for x in [-0.0, 0.00005, 1e-300, 1e300, std::f64::consts::PI, 1e11 + 0.5] {
            assert_eq!(length(x), (mark::FLOAT, 9), "{x}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_to_the_bit(
            points in prop::collection::vec((0_i64..5_000, -1_i64..2_000_000_000_000, value()), 0..50)
        ) {
            let mut block = RawBlock::default();
            for (series, ms, value) in &points {
                block.push(*series, *ms, value.into());
            }
            if !points.is_empty() {
                let mut back = Vec::new();
                read_raw(block.bytes(), |s, ms, v| back.push((s, ms, bits(&v.to_value())))).unwrap();
                let want: Vec<_> = points.iter().map(|(s, ms, v)| (*s, *ms, bits(v))).collect();
                prop_assert_eq!(back, want);
            }
            let mut segment = Segment::default();
            segment.push(3, points.iter().map(|(_, ms, v)| (*ms, v.into())));
            segment.push(9, [(7, Scalar::Gap)]);
            let mut back = Vec::new();
            read_segment(segment.bytes(), |p| p == 3, |p, ms, v| back.push((p, ms, bits(&v.to_value())))).unwrap();
            let want: Vec<_> = points.iter().map(|(_, ms, v)| (3, *ms, bits(v))).collect();
            prop_assert_eq!(back, want);
            let mut others = 0;
            read_segment(segment.bytes(), |p| p != 3, |p, ms, _| { assert_eq!((p, ms), (9, 7)); others += 1; }).unwrap();
            prop_assert_eq!(others, 1);
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(first) = bytes.first_mut() { *first = FORMAT; }
            let mut count = 0_usize;
            let _either = read_raw(&bytes, |_, _, _| count += 1);
            let _either = read_chunk(&bytes, |_, _| count += 1);
            let _either = read_segment(&bytes, |_| true, |_, _, _| count += 1);
            prop_assert!(count <= 3 * bytes.len());
        }
    }

    #[test]
    fn a_usual_point_takes_few_bytes() {
        let points = (0..120).map(|i| {
            (1_795_380_130_000 + i * 10_000, Scalar::Float(70.0 + f64::from(i as i32 % 7) / 10.0))
        });
        let mut chunk = Vec::new();
        write_chunk(&mut chunk, points);
        assert!(chunk.len() <= 120 * 4 + 20, "{} bytes for 120 points", chunk.len());
    }
}
