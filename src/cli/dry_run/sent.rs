//! What each output would be sent of the runs at hand.

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{self, STRONG, paint};
use crate::cli::report::clean;
use crate::config::{Compression, Config, EMBEDDED_OUTPUT, OutputConfig};
use crate::deliver::Compression as Encoding;
use crate::deliver::encode::{Encoder, Head};
use crate::model::{AgentId, Report, Seq, SpoolId, Timestamp};
use crate::spool::{Identity, Stored};

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// A line for each output.
    Outline,
    /// The very bytes.
    Whole,
}

/// What would be sent, for a person. Numbers that the spool gives are those of a new one.
pub(super) fn sent(reports: &[Report], config: &Config, extent: Extent) -> Result<String, Failure> {
    let stored = store(reports)?;
    let records: u64 = reports.iter().map(|report| report.counts.accepted).sum();
    let what = format!(
        "{}, {}",
        print::count(reports.len() as u64, "report"),
        print::count(records, "record")
    );
    let mut lines = Vec::new();
    let mut add = |name: &str, text: String, body: &dyn Fn() -> Result<String, Failure>| {
        lines.push(format!("{} {name}: {text}", paint(STRONG, "sent    ")));
        if extent == Extent::Whole {
            lines.extend(
                body()?.lines().map(|line| format!("      {}", shown(line)).trim_end().to_owned()),
            );
        }
        Ok::<_, Failure>(())
    };
    let ndjson = || {
        let bodies = stored.iter().map(|report| String::from_utf8_lossy(&report.body).into_owned());
        Ok(bodies.collect::<Vec<_>>().join("\n"))
    };
    for (name, output) in &config.outputs {
        match output {
            OutputConfig::Stdout => add(name, format!("{what} to standard output"), &ndjson)?,
            OutputConfig::File(file) => {
                add(name, format!("{what} to {}", file.path.display()), &ndjson)?;
            }
            OutputConfig::Talaia(hub) => {
                let compression = match hub.compression {
                    Compression::Zstd => Encoding::Zstd,
                    Compression::Gzip => Encoding::Gzip,
                    Compression::None => Encoding::None,
                };
                let wire = Wire { name, host: &config.agent.host, stored: &stored };
                let text = format!("{what} to {}, {}", hub.url, wire.size(compression)?);
                add(name, text, &|| wire.request(&hub.url, compression))?;
            }
        }
    }
    if config.hub.enabled {
        let wire = Wire { name: EMBEDDED_OUTPUT, host: &config.agent.host, stored: &stored };
        let text = format!("{what} to the agent's own hub, {}", wire.size(Encoding::None)?);
        let url = format!("http://{}", config.hub.listen);
        add(EMBEDDED_OUTPUT, text, &|| wire.request(&url, Encoding::None))?;
    }
    Ok(lines.join("\n"))
}

/// The very bytes for a program; what would steer a terminal is taken out for a person.
fn shown(line: &str) -> String {
    if print::a_person_reads_stdout() { clean(line) } else { line.to_owned() }
}

fn store(reports: &[Report]) -> Result<Vec<Stored>, Failure> {
    let stored = reports.iter().zip(1..).map(|(report, seq)| {
        let body = report.to_json().map_err(|e| Failure::from_error(Exit::Internal, &e))?;
        Ok(Stored { seq: Seq(seq), body, records: report.counts.accepted })
    });
    stored.collect()
}

/// An upload to a hub.
struct Wire<'a> {
    name: &'a str,
    host: &'a str,
    stored: &'a [Stored],
}

impl Wire<'_> {
    fn encode(&self, compression: Encoding) -> Result<(Vec<u8>, Option<&'static str>), Failure> {
        let head = Head {
            identity: Identity { spool: SpoolId::new(), agent: AgentId::new() },
            host: self.host,
            version: env!("CARGO_PKG_VERSION"),
            output: self.name,
            sent: Timestamp::from(std::time::SystemTime::now()),
        };
        let encoded = Encoder::new(compression)
            .encode(head, self.stored)
            .map_err(|e| Failure::from_error(Exit::Internal, &e))?;
        Ok((encoded.bytes, encoded.encoding))
    }

    fn size(&self, compression: Encoding) -> Result<String, Failure> {
        let (bytes, encoding) = self.encode(compression)?;
        let size = print::bytes(bytes.len() as u64);
        Ok(match encoding {
            Some(encoding) => format!("{size} as {encoding}"),
            None => size,
        })
    }

    fn request(&self, url: &str, compression: Encoding) -> Result<String, Failure> {
        let (_, encoding) = self.encode(compression)?;
        let (body, _) = self.encode(Encoding::None)?;
        let encoding = encoding.map_or_else(String::new, |e| format!("Content-Encoding: {e}\n"));
        Ok(format!(
            "POST {url}/api/v1/ingest\nAuthorization: Bearer …\nContent-Type: application/json\n\
             {encoding}\n{}",
            String::from_utf8_lossy(&body)
        ))
    }
}
