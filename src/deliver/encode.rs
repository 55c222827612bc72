//! A batch as bytes: the stored reports are spliced into it as they are, and compressed on the
//! way, so that a batch is never in memory twice at full size.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use zstd::stream::raw::{InBuffer, Operation, OutBuffer};

use crate::model::Timestamp;
use crate::spool::{Identity, Stored};

/// Below this many bytes of reports, compression costs more than it saves.
const TINY: usize = 512;

/// How bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// zstd at level 1: the best ratio for its time.
    #[default]
    Zstd,
    /// gzip, for destinations that do not know zstd.
    Gzip,
    /// Not at all.
    None,
}

/// What stands before the reports.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Which spool and agent.
    pub identity: Identity,
    /// The host as the agent names it.
    pub host: &'a str,
    /// The agent's version.
    pub version: &'a str,
    /// The output's name.
    pub output: &'a str,
    /// When it is sent, by the wall clock.
    pub sent: Timestamp,
}

/// A batch ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The body.
    pub bytes: Vec<u8>,
    /// The header `Content-Encoding`, where there is one.
    pub encoding: Option<&'static str>,
}

/// Encodes batches, one after the other, with one compressor for all.
pub struct Encoder {
    compression: Compression,
    zstd: Option<Zstd>,
}

impl Encoder {
    /// An encoder that has not encoded anything; the compressor is made when it is needed.
    pub fn new(compression: Compression) -> Self {
        Self { compression, zstd: None }
    }

    /// Encodes one batch.
    pub fn encode(&mut self, head: Head<'_>, reports: &[Stored]) -> io::Result<Encoded> {
        let size: usize = reports.iter().map(|r| r.body.len()).sum();
        let compression = if size < TINY { Compression::None } else { self.compression };
        match compression {
            Compression::None => {
                let mut bytes = Vec::with_capacity(size + 32 * reports.len() + 512);
                write(&mut bytes, head, reports)?;
                Ok(Encoded { bytes, encoding: None })
            }
            Compression::Gzip => {
                let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::new(1));
                write(&mut gzip, head, reports)?;
                Ok(Encoded { bytes: gzip.finish()?, encoding: Some("gzip") })
            }
            Compression::Zstd => {
                let zstd = match &mut self.zstd {
                    Some(zstd) => zstd,
                    none => none.insert(Zstd::new()?),
                };
                zstd.begin()?;
                write(zstd, head, reports)?;
                Ok(Encoded { bytes: zstd.finish()?, encoding: Some("zstd") })
            }
        }
    }
}

/// Writes the batch as JSON.
fn write(to: &mut impl Write, head: Head<'_>, reports: &[Stored]) -> io::Result<()> {
    let text = |text: &str| serde_json::to_string(text).map_err(io::Error::from);
    write!(
        to,
        r#"{{"agent":{{"id":"{}","host":{},"version":{},"spool":"{}"}},"output":{},"sent":"{}","reports":["#,
        head.identity.agent,
        text(head.host)?,
        text(head.version)?,
        head.identity.spool,
        text(head.output)?,
        head.sent,
    )?;
    for (n, report) in reports.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        write!(to, r#"{comma}{{"seq":{},"#, report.seq)?;
        // The spool takes nothing that does not begin with `{` and have a member.
        to.write_all(report.body.get(1..).unwrap_or(b"}"))?;
    }
    to.write_all(b"]}")
}

/// A zstd compressor that is kept: setting one up costs more than compressing a small batch.
struct Zstd {
    raw: zstd::stream::raw::Encoder<'static>,
    /// Small pieces are gathered here, because each call into the compressor has its price.
    input: Vec<u8>,
    chunk: Vec<u8>,
    output: Vec<u8>,
}

impl Zstd {
    const INPUT: usize = 16 << 10;

    fn new() -> io::Result<Self> {
        Ok(Self {
            raw: zstd::stream::raw::Encoder::new(1)?,
            input: Vec::with_capacity(Self::INPUT),
            chunk: vec![0; 32 << 10],
            output: Vec::new(),
        })
    }

    /// Forgets what an encoding that failed half-way left.
    fn begin(&mut self) -> io::Result<()> {
        self.input.clear();
        self.output = Vec::new();
        self.raw.reinit()
    }

    fn finish(&mut self) -> io::Result<Vec<u8>> {
        self.drain()?;
        loop {
            let mut out = OutBuffer::around(&mut self.chunk[..]);
            let left = self.raw.finish(&mut out, true)?;
            self.output.extend_from_slice(out.as_slice());
            if left == 0 {
                return Ok(std::mem::take(&mut self.output));
            }
        }
    }

    fn drain(&mut self) -> io::Result<()> {
        let Self { raw, input, chunk, output } = self;
        compress(raw, input, chunk, output)?;
        input.clear();
        Ok(())
    }
}

fn compress(
    raw: &mut zstd::stream::raw::Encoder<'static>,
    input: &[u8],
    chunk: &mut [u8],
    output: &mut Vec<u8>,
) -> io::Result<()> {
    let mut input = InBuffer::around(input);
    while input.pos() < input.src.len() {
        let mut out = OutBuffer::around(&mut *chunk);
        raw.run(&mut input, &mut out)?;
        output.extend_from_slice(out.as_slice());
    }
    Ok(())
}

impl Write for Zstd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.input.len() + bytes.len() > Self::INPUT {
            self.drain()?;
        }
        if bytes.len() > Self::INPUT {
            let Self { raw, chunk, output, .. } = self;
            compress(raw, bytes, chunk, output)?;
        } else {
            self.input.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use crate::model::{AgentId, Seq, SpoolId};

    use super::*;

    fn reports(n: u64, pad: usize) -> Vec<Stored> {
        (1..=n)
            .map(|seq| Stored {
                seq: Seq(seq * 2),
                body: format!(r#"{{"plugin":"p{seq}","x":"{}"}}"#, "ab".repeat(pad)).into_bytes(),
                records: 1,
            })
            .collect()
    }

    fn head() -> Head<'static> {
        Head {
            identity: Identity { spool: SpoolId::new(), agent: AgentId::new() },
            host: "web\"1",
            version: "0.1.0",
            output: "main",
            sent: Timestamp::from_millis(0).unwrap(),
        }
    }

    fn check(head: Head<'_>, bytes: &[u8], n: u64) {
        let json: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        assert_eq!(json["agent"]["host"], "web\"1");
        assert_eq!(json["agent"]["id"], head.identity.agent.to_string());
        assert_eq!(json["agent"]["spool"], head.identity.spool.to_string());
        assert_eq!(json["output"], "main");
        assert_eq!(json["sent"], "1970-01-01T00:00:00.000Z");
        let reports = json["reports"].as_array().unwrap();
        assert_eq!(reports.len() as u64, n);
        assert_eq!(reports[0]["seq"], 2);
        assert_eq!(reports[0]["plugin"], "p1");
    }

    #[test]
    fn what_is_decoded_is_what_was_encoded() {
        let mut zstd = Encoder::new(Compression::Zstd);
        let mut gzip = Encoder::new(Compression::Gzip);
        for (n, pad) in [(1, 1), (1, 3000), (1000, 10), (3, 200_000), (40, 5000)] {
            let (head, reports) = (head(), reports(n, pad));
            let plain = Encoder::new(Compression::None).encode(head, &reports).unwrap();
            assert_eq!(plain.encoding, None);
            check(head, &plain.bytes, n);
            let z = zstd.encode(head, &reports).unwrap();
            let g = gzip.encode(head, &reports).unwrap();
            if pad == 1 {
                assert_eq!((z.encoding, g.encoding), (None, None), "tiny bodies stay plain");
                continue;
            }
            assert_eq!((z.encoding, g.encoding), (Some("zstd"), Some("gzip")));
            assert_eq!(zstd::stream::decode_all(&z.bytes[..]).unwrap(), plain.bytes);
            let mut text = Vec::new();
            flate2::read::GzDecoder::new(&g.bytes[..]).read_to_end(&mut text).unwrap();
            assert_eq!(text, plain.bytes);
        }
    }
}
