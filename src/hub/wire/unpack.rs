//! Unpacking a body.

use std::io::Read;

use super::{Fault, FaultKind, whole};

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As it is.
    Plain,
    /// `Content-Encoding: zstd`
    Zstd,
    /// `Content-Encoding: gzip`
    Gzip,
}

/// Unpacks a body of at most `most` bytes; a bomb costs no more than that.
pub(crate) fn unpack(packed: &[u8], packing: Packing, most: usize) -> Result<String, Fault> {
    let broken = |what: &str| {
        whole(FaultKind::Encoding, format!("the body is not {what}, or is cut short"), "")
    };
    let limit = most as u64 + 1;
    // Bodies pack about this well; growing costs a copy.
    let mut body = Vec::with_capacity(packed.len().saturating_mul(8).min(most / 4));
    match packing {
        Packing::Plain => body.extend_from_slice(packed),
        Packing::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(packed).map_err(|_| broken("zstd"))?;
            // A frame may ask for a window of gigabytes; none of ours needs more than the body.
            decoder.window_log_max(24).map_err(|_| broken("zstd"))?;
            decoder.take(limit).read_to_end(&mut body).map_err(|_| broken("zstd"))?;
        }
        Packing::Gzip => {
            flate2::bufread::MultiGzDecoder::new(packed)
                .take(limit)
                .read_to_end(&mut body)
                .map_err(|_| broken("gzip"))?;
        }
    }
    if body.len() > most {
        let message =
            format!("over {most} bytes after decompression; send fewer reports at a time");
        return Err(whole(FaultKind::TooMany, message, ""));
    }
    String::from_utf8(body).map_err(|_| broken("UTF-8"))
}
